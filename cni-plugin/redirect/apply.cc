#include <fcntl.h>
#include <unistd.h>

#include <map>
#include <mutex>
#include <optional>
#include <system_error>

#include "cni-plugin/redirect/inside.h"
#include "cni-plugin/redirect/nft.h"
#include "cni-plugin/redirect/policy_route.h"
#include "cni-plugin/redirect/redirect.h"
#include "cni-plugin/redirect/ruleset.h"
#include "lib/base/log.h"

// Everything in the unnamed namespace acts on the network namespace of the calling thread.
namespace weft::cni::redirect {
namespace {

// /proc/net/tcp has 150 bytes a connection; beyond this the rest of the pod's connections is not looked at.
constexpr std::size_t kProcFileMax = 64 * 1024 * 1024;

std::optional<std::string> read_file(const char* path) {
  const Fd fd(::open(path, O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  std::string text;
  char part[16 * 1024];
  while (text.size() < kProcFileMax) {
    const auto got = ::read(fd.get(), part, sizeof part);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(part, static_cast<std::size_t>(got));
  }
  return text;
}

enum class Ipv6 { kAbsent, kDisabled, kEnabled };

// Disabled addresses get rules all the same, since they may be enabled later; a route over a disabled `lo` is
// impossible.
Ipv6 ipv6_state() {
  const auto disabled = read_file("/proc/sys/net/ipv6/conf/lo/disable_ipv6");
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
  WEFT_LOG(kWarn, "redirect", "tcp_migrate_req not set", {"error", std::system_category().message(errno)});
}

std::vector<Connection> open_connections() {
  std::vector<Connection> out;
  for (const char* path : {"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"}) {
    auto more = parse_open_connections(read_file(path).value_or(""));
    out.insert(out.end(), more.begin(), more.end());
  }
  if (out.size() > kOpenConnectionsMax) {
    WEFT_LOG(kWarn, "redirect", "too many open connections, some will be reset", {"open", std::to_string(out.size())});
    out.resize(kOpenConnectionsMax);
  }
  return out;
}

Result<std::string> list_tables() {
  WEFT_TRY(const std::string listing, run_nft("list ruleset inet\n"));
  return our_tables(listing);
}

// How this nft lists the rules that install_text() makes on this kernel: asked of an empty namespace, because the words
// differ between versions. Constant while the process runs, so it is found out once.
Result<std::string> expected_tables(const Options& options) {
  static std::mutex mutex;
  static std::map<std::string, std::string> known;  // by text; a process has one or two
  const std::lock_guard lock(mutex);
  const auto installed = install_text(options, {});
  auto& text = known[installed];
  if (!text.empty()) return text;
  WEFT_TRY(text, inside_new<std::string>([&]() -> Result<std::string> {
             WEFT_TRY_VOID(run_nft(installed));
             return list_tables();
           }));
  return text;
}

Result<bool> rules_are_right(const Options& options) {
  WEFT_TRY(const std::string expected, expected_tables(options));
  WEFT_TRY(const std::string present, list_tables());
  return present == expected;
}

Result<void> remove_all() {
  WEFT_TRY_VOID(run_nft(remove_text()));
  if (auto forgotten = forget_connections(); !forgotten) {
    WEFT_LOG(kWarn, "redirect", "conntrack entries of a removed pod stay", {"error", forgotten.error().message()});
  }
  WEFT_TRY_VOID(remove_reply_route(AddressFamily::kIpv4));
  return remove_reply_route(AddressFamily::kIpv6);
}

// The first time in this namespace: connections that are open go on. From the first step on conntrack sees every new
// one, so that none can begin unseen between the look at the open ones and the rules.
Result<void> install_anew(const Options& options) {
  WEFT_TRY_VOID(run_nft(tracking_text()));
  WEFT_TRY_VOID(run_nft(install_text(options, open_connections())));
  return {};
}

Result<void> apply_here(const Options& options) {
  WEFT_TRY_VOID(bring_up_loopback());
  migrate_queued_connections();
  // Routes first: they do nothing without the rules, and the rules break replies without them.
  WEFT_TRY_VOID(add_reply_route(AddressFamily::kIpv4));
  if (wants_ipv6_route(options)) WEFT_TRY_VOID(add_reply_route(AddressFamily::kIpv6));

  WEFT_TRY(const std::string expected, expected_tables(options));
  // A pod that changed its own rules may have made too many to list: then they are replaced like any others.
  const auto present = list_tables();
  if (present && *present == expected) return {};
  if (!present || !present->empty()) {
    WEFT_TRY_VOID(run_nft(install_text(options, {})));
    return {};
  }
  auto installed = install_anew(options);
  if (installed) return {};
  if (auto removed = remove_all(); !removed) {
    WEFT_LOG(kWarn, "redirect", "rules of a refused pod stay", {"error", removed.error().message()});
  }
  return installed;
}

}  // namespace

Result<void> apply(const Fd& netns, const Options& options) {
  return inside<void>(netns, [&] { return apply_here(usable(options)); });
}

Result<void> remove(const Fd& netns) {
  return inside<void>(netns, [] { return remove_all(); });
}

Result<bool> verify(const Fd& netns, const Options& wanted) {
  return inside<bool>(netns, [&]() -> Result<bool> {
    const auto options = usable(wanted);
    WEFT_TRY(const bool rules, rules_are_right(options));
    if (!rules) return false;
    WEFT_TRY(const bool route, has_reply_route(AddressFamily::kIpv4));
    if (!route) return false;
    if (!wants_ipv6_route(options)) return true;
    return has_reply_route(AddressFamily::kIpv6);
  });
}

}  // namespace weft::cni::redirect
