#include <linux/netfilter.h>

#include <map>
#include <mutex>

#include "cni-plugin/redirect/chains.h"
#include "cni-plugin/redirect/host_rules.h"
#include "cni-plugin/redirect/host_text.h"
#include "cni-plugin/redirect/inside.h"
#include "cni-plugin/redirect/ipset.h"
#include "cni-plugin/redirect/iptables.h"

namespace weft::cni::redirect {
namespace {

constexpr AddressFamily kFamilies[] = {AddressFamily::kIpv4, AddressFamily::kIpv6};

const IptablesProgram& program_of(const Backend& backend, AddressFamily family) {
  return family == AddressFamily::kIpv4 ? backend.v4 : backend.v6;
}

bool concerns_us(const ProbeOptions& options, AddressFamily family) {
  return family == AddressFamily::kIpv4 || options.ipv6;
}

// Whether our chain may be there, without running a program.
Result<bool> may_have_chain(const IptablesProgram& program, AddressFamily family) {
  if (program.legacy) return has_legacy_table(family, "nat");
  WEFT_TRY(const auto chains, list_nft_chains());
  const int number = family == AddressFamily::kIpv4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
  for (const auto& chain : chains) {
    if (chain.family == number && chain.table == "nat" && chain.name == kHostChain) return true;
  }
  return false;
}

// Only two chains are asked for: the table may have the thousands of a service proxy.
Result<HostChains> list(const IptablesProgram& program, AddressFamily family) {
  WEFT_TRY(const bool may_be, may_have_chain(program, family));
  if (!may_be) return HostChains{};
  WEFT_TRY(const std::string postrouting, iptables_list_nat(program, "POSTROUTING"));
  const auto chain = iptables_list_nat(program, kHostChain);
  // Legacy programs fail when there is no such chain, with words that differ between versions: that they could list
  // POSTROUTING shows that nothing else is wrong.
  if (!chain && !program.legacy) return std::unexpected(chain.error());
  return parse_host_chains(postrouting, chain.value_or(""));
}

// As for pods: what a program says of its own rules is found out once.
Result<std::string> expected_chain(const ProbeOptions& options, const IptablesProgram& program, AddressFamily family) {
  static std::mutex mutex;
  static std::map<std::string, std::string> known;  // by program and text
  const std::lock_guard lock(mutex);
  const auto text = iptables_host_install_text(options, family, {});
  auto& chain = known[program.name + "\n" + text];
  if (!chain.empty()) return chain;
  WEFT_TRY(chain, inside_new<std::string>([&]() -> Result<std::string> {
             WEFT_TRY_VOID(replace_ipset(probe_set(family), family, {}));
             WEFT_TRY_VOID(iptables_restore(program, text, LockScope::kNamespace));
             WEFT_TRY(const auto present, list(program, family));
             return present.chain;
           }));
  return chain;
}

Result<bool> rules_are_right(const ProbeOptions& options, AddressFamily family, const HostChains& present) {
  WEFT_TRY(const std::string wanted, expected_chain(options, program_of(options.backend, family), family));
  return present.chain == wanted && present.jumps.size() == 1;
}

// The comment of every address as it can be in a set.
ProbedPods of_family(const ProbedPods& pods, AddressFamily family) {
  ProbedPods out;
  for (const auto& [ip, uid] : pods) {
    if (ip.is_v4() == (family == AddressFamily::kIpv4)) out[ip] = probe_comment(uid);
  }
  return out;
}

}  // namespace

Result<void> iptables_exempt(const ProbeOptions& options, AddressFamily family, const ProbedPods& pods) {
  const auto& program = program_of(options.backend, family);
  WEFT_TRY_VOID(replace_ipset(probe_set(family), family, pods));
  WEFT_TRY(const auto present, list(program, family));
  WEFT_TRY(const bool right, rules_are_right(options, family, present));
  if (right) return {};
  return iptables_restore(program, iptables_host_install_text(options, family, present), LockScope::kNode);
}

Result<void> iptables_exempt(const ProbeOptions& options, const ProbedPods& pods) {
  for (const auto family : kFamilies) {
    if (concerns_us(options, family)) WEFT_TRY_VOID(iptables_exempt(options, family, pods));
  }
  return {};
}

Result<bool> iptables_exempts(const ProbeOptions& options, const ProbedPods& pods) {
  for (const auto family : kFamilies) {
    if (!concerns_us(options, family)) continue;
    WEFT_TRY(const auto addresses, list_ipset(probe_set(family)));
    if (addresses != of_family(pods, family)) return false;
    WEFT_TRY(const auto present, list(program_of(options.backend, family), family));
    WEFT_TRY(const bool right, rules_are_right(options, family, present));
    if (!right) return false;
  }
  return true;
}

Result<void> iptables_unexempt(const IptablesProgram& program, AddressFamily family) {
  WEFT_TRY(const auto present, list(program, family));
  return iptables_restore(program, iptables_host_remove_text(present), LockScope::kNode);
}

}  // namespace weft::cni::redirect
