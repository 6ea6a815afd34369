// Packet rules as one back end keeps them: nftables, or iptables for one family of addresses. Everything acts on the network
// namespace of the calling thread, blocks while a program runs, and fails as redirect.h says.
#pragma once

#include <memory>
#include <vector>

#include "cni-plugin/redirect/redirect.h"
#include "cni-plugin/redirect/rules.h"

namespace weft::cni::redirect {

class PodRules {
 public:
  virtual ~PodRules() = default;
  // Some rules of the mesh are here, in this back end's form, whoever made them.
  virtual Result<bool> present() = 0;
  // The rules here are exactly those that install() makes.
  virtual Result<bool> right(const Options& options) = 0;
  // What the proxy delivers has a zone of its own by the rules here.
  virtual Result<bool> has_delivery_zone() = 0;
  // After it conntrack sees every connection that begins, and nothing is redirected yet. Where nothing is present.
  virtual Result<void> track(const Options& options) = 0;
  // Replaces whatever is here.
  virtual Result<void> install(const Options& options) = 0;
  // That nothing is here is no error.
  virtual Result<void> remove() = 0;
};

using PodRulesPtr = std::unique_ptr<PodRules>;

PodRulesPtr make_nft_rules();
PodRulesPtr make_iptables_rules(const IptablesProgram& program, AddressFamily family);

// What a back end needs to hold its rules, and every other form in which rules may be left over.
std::vector<PodRulesPtr> rules_of(const Backend& backend);
std::vector<PodRulesPtr> rules_of_others(const Backend& backend);

}  // namespace weft::cni::redirect
