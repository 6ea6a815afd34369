#include "cni-plugin/redirect/backend.h"

#include <unistd.h>

#include "cni-plugin/redirect/host_rules.h"
#include "cni-plugin/redirect/inside.h"
#include "cni-plugin/redirect/iptables.h"
#include "cni-plugin/redirect/pod_rules.h"
#include "lib/base/log.h"

namespace weft::cni::redirect {
namespace {

std::string base_name(AddressFamily family) { return family == AddressFamily::kIpv4 ? "iptables" : "ip6tables"; }

Backend iptables_of(AddressFamily family, IptablesProgram program) {
  Backend backend{.kind = Backend::Kind::kIptables};
  (family == AddressFamily::kIpv4 ? backend.v4 : backend.v6) = std::move(program);
  return backend;
}

Result<IptablesProgram> choose_program(AddressFamily family, const BackendWish& wish, const BackendFacts& facts) {
  const auto base = base_name(family);
  std::vector<std::string> names;
  if (wish.variant) {
    names = {base + (*wish.variant == IptablesVariant::kLegacy ? "-legacy" : "-nft")};
  } else {
    if (facts.has_legacy_rules(family)) names.push_back(base + "-legacy");
    names.insert(names.end(), {base + "-nft", base});
  }
  std::string reasons;
  auto code = ErrorCode::kNotFound;
  for (const auto& name : names) {
    auto program = facts.identify(name);
    auto usable =
        program ? facts.try_backend(iptables_of(family, *program)) : Result<void>(std::unexpected(program.error()));
    if (usable) return program;
    if (usable.error().code() != ErrorCode::kNotFound) code = usable.error().code();
    reasons += (reasons.empty() ? "" : "; ") + usable.error().message();
  }
  return fail(code, std::string(base) + " is not usable: " + reasons);
}

Result<Backend> choose_iptables(const BackendWish& wish, const BackendFacts& facts) {
  Backend out{.kind = Backend::Kind::kIptables};
  WEFT_TRY(out.v4, choose_program(AddressFamily::kIpv4, wish, facts));
  if (!wish.ipv6) return out;
  WEFT_TRY(out.v6, choose_program(AddressFamily::kIpv6, wish, facts));
  return out;
}

bool has_ipv6() { return ::access("/proc/sys/net/ipv6", F_OK) == 0; }

// In an empty namespace, which goes away again: the node's is not touched.
Result<void> try_in_empty_namespace(const Backend& backend) {
  return inside_new<void>([&]() -> Result<void> {
    const Options all{.ipv6 = has_ipv6(), .dns_capture = true, .probes = {}, .backend = backend};
    for (const auto& rules : rules_of(backend)) WEFT_TRY_VOID(rules->install(all));
    const ProbeOptions probes{.source = {}, .ipv6 = all.ipv6, .kubelet = 0, .backend = backend};
    if (backend.kind == Backend::Kind::kNftables) return nft_exempt(probes, {});
    for (const auto& [program, family] : programs_of(backend)) WEFT_TRY_VOID(iptables_exempt(probes, family, {}));
    return {};
  });
}

}  // namespace

std::string Backend::to_string() const {
  if (kind == Kind::kNftables) return "nftables";
  return v6.name.empty() ? v4.name : v4.name + " and " + v6.name;
}

Result<BackendChoice> choose_backend(const BackendWish& wish, const BackendFacts& facts) {
  const Backend nftables;
  std::string remark;
  if (wish.nftables) {
    const auto usable = facts.try_backend(nftables);
    if (usable) return BackendChoice{nftables, ""};
    remark = "nftables is not usable: " + usable.error().message();
  }
  auto iptables = choose_iptables(wish, facts);
  if (iptables) return BackendChoice{std::move(*iptables), remark};
  if (wish.nftables || wish.variant) {
    return fail(iptables.error().code(), (remark.empty() ? "" : remark + "; ") + iptables.error().message());
  }
  const auto usable = facts.try_backend(nftables);
  if (usable) return BackendChoice{nftables, iptables.error().message()};
  return fail(usable.error().code(), iptables.error().message() + "; nor is nftables: " + usable.error().message());
}

Result<BackendChoice> choose_backend(const Fd& node, const BackendWish& wanted) {
  auto wish = wanted;
  wish.ipv6 = wish.ipv6 && has_ipv6();
  const auto has_legacy_rules = [&node](AddressFamily family) {
    const auto found = inside<bool>(node, [family]() -> Result<bool> { return has_legacy_tables(family); });
    return found && *found;
  };
  return choose_backend(wish, {try_in_empty_namespace, identify_iptables, has_legacy_rules});
}

std::vector<FamilyProgram> programs_of(const Backend& backend) {
  std::vector<FamilyProgram> out;
  if (backend.kind != Backend::Kind::kIptables) return out;
  if (!backend.v4.name.empty()) out.push_back({backend.v4, AddressFamily::kIpv4});
  if (!backend.v6.name.empty()) out.push_back({backend.v6, AddressFamily::kIpv6});
  return out;
}

std::vector<FamilyProgram> programs_of_others(const Backend& backend) {
  std::vector<FamilyProgram> out;
  const auto ours = programs_of(backend);
  for (const auto family : {AddressFamily::kIpv4, AddressFamily::kIpv6}) {
    for (const bool legacy : {false, true}) {
      bool mine = false;
      for (const auto& [program, of] : ours) mine = mine || (of == family && program.legacy == legacy);
      if (!mine) out.push_back({{base_name(family) + (legacy ? "-legacy" : "-nft"), legacy}, family});
    }
  }
  return out;
}

std::vector<PodRulesPtr> rules_of(const Backend& backend) {
  std::vector<PodRulesPtr> out;
  if (backend.kind == Backend::Kind::kNftables) out.push_back(make_nft_rules());
  for (const auto& [program, family] : programs_of(backend)) out.push_back(make_iptables_rules(program, family));
  return out;
}

std::vector<PodRulesPtr> rules_of_others(const Backend& backend) {
  std::vector<PodRulesPtr> out;
  if (backend.kind != Backend::Kind::kNftables) out.push_back(make_nft_rules());
  for (const auto& [program, family] : programs_of_others(backend)) out.push_back(make_iptables_rules(program, family));
  return out;
}

Result<bool> has_nft_rules() { return make_nft_rules()->present(); }

}  // namespace weft::cni::redirect
