// Which program keeps the packet rules of a node and its pods, as istio-cni chooses: nftables when that is asked for; else
// iptables, in the variant that the node's own rules are in.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cni-plugin/redirect/probes.h"
#include "cni-plugin/redirect/redirect.h"
#include "cni-plugin/redirect/rules.h"

namespace weft::cni::redirect {

enum class IptablesVariant { kLegacy, kNft };

struct BackendWish {
  bool nftables = false;
  std::optional<IptablesVariant> variant{};  // this one or none
  bool ipv6 = true;                          // an ip6tables is needed as well
};

struct BackendChoice {
  Backend backend;
  std::string remark;  // why it is not what was asked for; empty when it is
};

// What the choice depends on.
struct BackendFacts {
  // Whether all our rules can be installed, of pods and of the node; the error says why not.
  std::function<Result<void>(const Backend&)> try_backend;
  // The variant that a program is; kNotFound when it is not there.
  std::function<Result<IptablesProgram>(const std::string& name)> identify;
  std::function<bool(AddressFamily)> has_legacy_rules;  // in the node's namespace
};

// nftables: it when usable, else iptables. iptables, for each family by itself: the forced variant; else iptables-legacy
// when the node has legacy rules, iptables-nft, iptables, whichever is usable first. When none is and no variant was forced:
// nftables, where istio-cni gives up. kUnsupported or kNotFound when nothing is usable, with every reason.
Result<BackendChoice> choose_backend(const BackendWish& wish, const BackendFacts& facts);
// Of this machine, whose node has the namespace `node`. Blocks for some 50 ms.
Result<BackendChoice> choose_backend(const Fd& node, const BackendWish& wish);

struct FamilyProgram {
  IptablesProgram program;
  AddressFamily family;
};
// The programs of iptables that hold a back end's rules, and those in whose tables another one's may be.
std::vector<FamilyProgram> programs_of(const Backend& backend);
std::vector<FamilyProgram> programs_of_others(const Backend& backend);
// nftables has rules of the mesh in the calling thread's network namespace.
Result<bool> has_nft_rules();

}  // namespace weft::cni::redirect
