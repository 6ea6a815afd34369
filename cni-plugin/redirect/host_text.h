// The packet rules of the node's own network namespace as text for nftables, or for iptables with sets of ipset.h. Pure.
// Names are istio-cni's, so that either node agent replaces or removes what the other one left.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cni-plugin/redirect/probes.h"
#include "cni-plugin/redirect/rules.h"

namespace weft::cni::redirect {

// One transaction that replaces our table.
std::string nft_host_install_text(const ProbeOptions& options, const ProbedPods& pods);
// One transaction that removes our table, if there is one.
std::string nft_host_remove_text();
// Lists our table; nft fails when there is none.
std::string nft_host_list_text();

inline constexpr std::string_view kHostChain = "ISTIO_POSTRT";
// The set of a family's addresses; has a chain of nftables or a name of ipset.
std::string_view probe_set(AddressFamily family);

// What iptables tells of a node.
struct HostChains {
  std::vector<std::string> jumps;  // rules of POSTROUTING that lead to our chain, as after "-A "
  std::string chain;               // the listing of our chain; empty when there is none
};
// From "iptables -t nat -S POSTROUTING" and "-S ISTIO_POSTRT"; the latter empty when there is no such chain.
HostChains parse_host_chains(std::string_view postrouting, std::string_view ours);

// One transaction each; the text to remove is empty when there is nothing.
std::string iptables_host_install_text(const ProbeOptions& options, AddressFamily family, const HostChains& present);
std::string iptables_host_remove_text(const HostChains& present);

// UIDs come from outside, and some texts are read as a program: what it keeps is harmless there and fits the kernel's
// bounds.
std::string probe_comment(std::string_view uid);

}  // namespace weft::cni::redirect
