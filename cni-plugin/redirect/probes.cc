#include "cni-plugin/redirect/probes.h"

#include <unistd.h>

#include "cni-plugin/redirect/backend.h"
#include "cni-plugin/redirect/host_rules.h"
#include "cni-plugin/redirect/host_text.h"
#include "cni-plugin/redirect/inside.h"
#include "cni-plugin/redirect/ipset.h"

namespace weft::cni::redirect {
namespace {

// Everything here acts on the network namespace of the calling thread.
ProbeOptions usable(ProbeOptions options) {
  options.ipv6 = options.ipv6 && ::access("/proc/sys/net/ipv6", F_OK) == 0;
  return options;
}

bool by_nftables(const Backend& backend) { return backend.kind == Backend::Kind::kNftables; }

Result<void> remove_sets() {
  for (const auto family : {AddressFamily::kIpv4, AddressFamily::kIpv6}) {
    auto destroyed = destroy_ipset(probe_set(family));
    // A kernel without sets has none of ours.
    if (!destroyed && destroyed.error().code() != ErrorCode::kUnsupported) return destroyed;
  }
  return {};
}

}  // namespace

Result<void> exempt_probes(const Fd& netns, const ProbeOptions& wanted, const ProbedPods& pods) {
  return inside<void>(netns, [&] {
    const auto options = usable(wanted);
    return by_nftables(options.backend) ? nft_exempt(options, pods) : iptables_exempt(options, pods);
  });
}

Result<bool> verify_probes(const Fd& netns, const ProbeOptions& wanted, const ProbedPods& pods) {
  return inside<bool>(netns, [&] {
    const auto options = usable(wanted);
    return by_nftables(options.backend) ? nft_exempts(options, pods) : iptables_exempts(options, pods);
  });
}

Result<void> remove_probes(const Fd& netns, const Backend& backend) {
  return inside<void>(netns, [&]() -> Result<void> {
    if (by_nftables(backend)) return nft_unexempt();
    for (const auto& [program, family] : programs_of(backend)) WEFT_TRY_VOID(iptables_unexempt(program, family));
    return remove_sets();
  });
}

Result<void> remove_other_probes(const Fd& netns, const Backend& backend) {
  return inside<void>(netns, [&]() -> Result<void> {
    for (const auto& [program, family] : programs_of_others(backend)) {
      WEFT_TRY_VOID(iptables_unexempt(program, family));
    }
    if (by_nftables(backend)) return remove_sets();
    WEFT_TRY(const bool there, has_nft_rules());
    return there ? nft_unexempt() : Result<void>{};
  });
}

}  // namespace weft::cni::redirect
