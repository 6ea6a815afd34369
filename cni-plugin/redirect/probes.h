// Health probes of enrolled pods, in the network namespace of the node: the kubelet's connections to their addresses leave
// with a source address of their own (ProbeSource), which the rules inside the pod let through to the application. What
// else comes from the node to a pod, by NodePort for example, is caught there like anything.
//
// With nftables a connection counts as the kubelet's when a process with its UID opened it on this node. That is root nearly
// everywhere, so whatever else runs as root on the node is exempt too, as with istio-cni. With iptables, as with
// istio-cni's, any process counts, and the addresses are in two sets of ipset.
//
// Every call blocks for some 10 ms, like those of redirect.h, with the same needs and errors; thread-safe.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>

#include "cni-plugin/redirect/redirect.h"

namespace weft::cni::redirect {

// More than the pods of any node have. With the longest comments they make 0.7 MiB of text, within what nft may print.
inline constexpr std::size_t kProbedAddressesMax = 4096;

// Addresses of pods, each with the UID of its pod, which is a comment for people and for istio-cni.
using ProbedPods = std::map<IpAddress, std::string>;

struct ProbeOptions {
  ProbeSource source{};
  bool ipv6 = true;  // exempt IPv6 addresses too, when the kernel has it
  uid_t kubelet = 0;
  Backend backend{};
};

// From here on probes of exactly these pods are exempt; replaces what was there. As one transaction with nftables; with
// iptables first the addresses are replaced and then, if they are not right, the rules.
Result<void> exempt_probes(const Fd& netns, const ProbeOptions& options, const ProbedPods& pods);

// True when the rules are exactly those that exempt_probes() makes. An error, also when the table is not there, should be
// treated as false.
Result<bool> verify_probes(const Fd& netns, const ProbeOptions& options, const ProbedPods& pods);

// No probe is exempt any more by this back end; that none was is no error.
Result<void> remove_probes(const Fd& netns, const Backend& backend = {});

// The same for every other back end: call it once this one exempts the probes.
Result<void> remove_other_probes(const Fd& netns, const Backend& backend);

}  // namespace weft::cni::redirect
