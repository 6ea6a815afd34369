// The node's packet rules as one back end keeps them. Everything acts on the network namespace of the calling thread.
#pragma once

#include "cni-plugin/redirect/probes.h"
#include "cni-plugin/redirect/rules.h"

namespace weft::cni::redirect {

// As the functions of probes.h.
Result<void> nft_exempt(const ProbeOptions& options, const ProbedPods& pods);
Result<bool> nft_exempts(const ProbeOptions& options, const ProbedPods& pods);
Result<void> nft_unexempt();

Result<void> iptables_exempt(const ProbeOptions& options, const ProbedPods& pods);
// One family of it.
Result<void> iptables_exempt(const ProbeOptions& options, AddressFamily family, const ProbedPods& pods);
Result<bool> iptables_exempts(const ProbeOptions& options, const ProbedPods& pods);
// Rules of one program; the sets of a family can go when no program has rules.
Result<void> iptables_unexempt(const IptablesProgram& program, AddressFamily family);

}  // namespace weft::cni::redirect
