// The rules of rules.h as input of iptables-restore, and what iptables-save says about them. Pure.
//
// Chains are ISTIO_PRERT and ISTIO_OUTPUT in the tables mangle, nat and raw, reached from PREROUTING and OUTPUT. Our jumps
// come first there, before anything the pod has added.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cni-plugin/redirect/rules.h"

namespace weft::cni::redirect {

// What concerns the mesh in the output of iptables-save: chains named ISTIO_*, by whomever, and what leads to them.
struct SavedRules {
  struct Table {
    std::vector<std::string> chains;   // ISTIO_*
    std::vector<std::string> outside;  // rules in other chains that are ours, as after "-A "
    std::string text;                  // to compare
  };
  std::map<std::string, Table> tables;  // those with anything of ours

  // The same text means the same rules in the same order, also that nothing of others comes before a jump of ours. Empty
  // when there is nothing.
  std::string text() const;
};
SavedRules parse_saved_rules(std::string_view saved);

// One input of iptables-restore --noflush that replaces `present` by the rules of this family. Each table changes as a
// whole.
std::string iptables_install_text(const Options& options, AddressFamily family, const SavedRules& present);
// After it conntrack sees connections and nothing is redirected. For a namespace with nothing of ours.
std::string iptables_tracking_text(const Options& options, AddressFamily family);
// Removes `present`; empty when there is nothing to remove.
std::string iptables_remove_text(const SavedRules& present);

}  // namespace weft::cni::redirect
