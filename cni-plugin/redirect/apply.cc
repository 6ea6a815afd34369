#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "cni-plugin/redirect/conntrack.h"
#include "cni-plugin/redirect/inside.h"
#include "cni-plugin/redirect/pod_rules.h"
#include "cni-plugin/redirect/policy_route.h"
#include "cni-plugin/redirect/proc.h"
#include "cni-plugin/redirect/redirect.h"
#include "lib/base/log.h"

// Everything in the unnamed namespace acts on the network namespace of the calling thread.
namespace weft::cni::redirect {
namespace {

constexpr const char* kTarget = "redirect";

enum class Ipv6 { kAbsent, kDisabled, kEnabled };

// Disabled addresses get rules all the same, since they may be enabled later; a route over a disabled `lo` is
// impossible.
Ipv6 ipv6_state() {
  const auto disabled = read_proc("/proc/sys/net/ipv6/conf/lo/disable_ipv6");
  if (!disabled) return Ipv6::kAbsent;
  return disabled->starts_with("1") ? Ipv6::kDisabled : Ipv6::kEnabled;
}

Options usable(Options options) {
  options.ipv6 = options.ipv6 && ipv6_state() != Ipv6::kAbsent;
  return options;
}

bool wants_ipv6_route(const Options& options) { return options.ipv6 && ipv6_state() == Ipv6::kEnabled; }

// Without it the kernel resets connections that queue at a closing listener even when its SO_REUSEPORT sibling goes on.
// A comfort of upgrades and not of security, so a kernel or container without it is no reason to refuse a pod.
void migrate_queued_connections() {
  const Fd fd(::open("/proc/sys/net/ipv4/tcp_migrate_req", O_WRONLY | O_CLOEXEC));
  if (fd && ::write(fd.get(), "1\n", 2) == 2) return;
  if (errno == ENOENT) return;  // before Linux 5.14
  WEFT_LOG(kWarn, kTarget, "tcp_migrate_req not set", {"error", std::system_category().message(errno)});
}

// Where that cannot be found out they may be.
bool any_present(const std::vector<PodRulesPtr>& rules) {
  for (const auto& each : rules) {
    const auto present = each->present();
    if (!present || *present) return true;
  }
  return false;
}

Result<bool> all_right(const std::vector<PodRulesPtr>& rules, const Options& options) {
  for (const auto& each : rules) {
    WEFT_TRY(const bool right, each->right(options));
    if (!right) return false;
  }
  return true;
}

bool zone_in(const std::vector<PodRulesPtr>& rules) {
  return std::any_of(rules.begin(), rules.end(), [](const auto& each) { return each->has_delivery_zone().value_or(false); });
}

Options without_zone(Options options) {
  options.delivery_zone = false;
  return options;
}

// Rules without a zone for deliveries are right as well (Options::delivery_zone).
Result<bool> right_in_a_form(const std::vector<PodRulesPtr>& rules, const Options& options) {
  const auto right = all_right(rules, options);
  if (right && *right) return true;
  return all_right(rules, without_zone(options));
}

// Every part is tried; the first error is returned. Rules of others stay, with a word, where their program is missing.
Result<void> remove_all(const Backend& backend) {
  Result<void> outcome;
  for (const auto& rules : rules_of(backend)) {
    auto removed = rules->remove();
    if (!removed && outcome) outcome = removed;
  }
  for (const auto& rules : rules_of_others(backend)) {
    const auto present = rules->present();
    auto removed = !present ? Result<void>(std::unexpected(present.error())) : *present ? rules->remove() : Result<void>{};
    if (removed) continue;
    if (removed.error().code() == ErrorCode::kNotFound) {
      WEFT_LOG(kWarn, kTarget, "rules of another back end may stay", {"error", removed.error().message()});
    } else if (outcome) {
      outcome = removed;
    }
  }
  if (auto forgotten = forget_connections(); !forgotten) {
    WEFT_LOG(kWarn, kTarget, "conntrack entries of a removed pod stay", {"error", forgotten.error().message()});
  }
  for (const auto family : {AddressFamily::kIpv4, AddressFamily::kIpv6}) {
    auto removed = remove_reply_route(family);
    if (!removed && outcome) outcome = removed;
  }
  return outcome;
}

Result<void> install(const std::vector<PodRulesPtr>& mine, const Options& options) {
  for (const auto& rules : mine) WEFT_TRY_VOID(rules->install(options));
  return {};
}

// The first time in this namespace: connections that are open go on. From the first step on conntrack sees every new
// one, so that none can begin unseen between the look at the open ones and the rules.
Result<void> install_anew(const std::vector<PodRulesPtr>& mine, const Options& options) {
  for (const auto& rules : mine) WEFT_TRY_VOID(rules->track(options));
  let_open_connections_be();
  return install(mine, options);
}

// They do what ours do, so it does no harm that they are here until then, or longer.
void remove_others(const std::vector<PodRulesPtr>& others) {
  for (const auto& rules : others) {
    const auto present = rules->present();
    if (present && !*present) continue;
    const auto removed = present ? rules->remove() : Result<void>(std::unexpected(present.error()));
    if (!removed) WEFT_LOG(kWarn, kTarget, "rules of another back end stay", {"error", removed.error().message()});
  }
}

Result<void> apply_here(Options options) {
  WEFT_TRY_VOID(bring_up_loopback());
  migrate_queued_connections();
  // Routes first: they do nothing without the rules, and the rules break replies without them.
  WEFT_TRY_VOID(add_reply_route(AddressFamily::kIpv4));
  if (wants_ipv6_route(options)) WEFT_TRY_VOID(add_reply_route(AddressFamily::kIpv6));

  const auto mine = rules_of(options.backend), others = rules_of_others(options.backend);
  // A pod that changed its own rules may have made too many to list: then they are replaced like any others.
  const auto right = right_in_a_form(mine, options);
  if (!right || !*right) {
    const bool first = !any_present(mine) && !any_present(others);
    options.delivery_zone = options.delivery_zone && (first || zone_in(mine) || zone_in(others));
    auto installed = first ? install_anew(mine, options) : install(mine, options);
    if (!installed && first) {
      if (auto removed = remove_all(options.backend); !removed) {
        WEFT_LOG(kWarn, kTarget, "rules of a refused pod stay", {"error", removed.error().message()});
      }
    }
    if (!installed) return installed;
  }
  remove_others(others);
  return {};
}

}  // namespace

Result<void> apply(const Fd& netns, const Options& options) {
  return inside<void>(netns, [&] { return apply_here(usable(options)); });
}

Result<void> remove(const Fd& netns, const Backend& backend) {
  return inside<void>(netns, [&] { return remove_all(backend); });
}

Result<bool> verify(const Fd& netns, const Options& wanted) {
  return inside<bool>(netns, [&]() -> Result<bool> {
    const auto options = usable(wanted);
    WEFT_TRY(const bool rules, right_in_a_form(rules_of(options.backend), options));
    if (!rules) return false;
    WEFT_TRY(const bool route, has_reply_route(AddressFamily::kIpv4));
    if (!route) return false;
    if (!wants_ipv6_route(options)) return true;
    return has_reply_route(AddressFamily::kIpv6);
  });
}

Result<bool> present(const Fd& netns, const Backend& backend) {
  return inside<bool>(
      netns, [&]() -> Result<bool> { return any_present(rules_of(backend)) || any_present(rules_of_others(backend)); });
}

}  // namespace weft::cni::redirect
