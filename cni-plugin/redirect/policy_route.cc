#include "cni-plugin/redirect/policy_route.h"

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>

#include "cni-plugin/redirect/netlink.h"

namespace weft::cni::redirect {
namespace {

constexpr std::uint32_t kTable = 100;
constexpr std::uint32_t kPriority = 32764;
// A rule is added once; more than one exists only when something else added it too.
constexpr int kRulesMax = 8;

std::uint8_t number(AddressFamily family) { return family == AddressFamily::kIpv4 ? AF_INET : AF_INET6; }

std::uint32_t as_number(std::span<const char> value) {
  std::uint32_t out = 0;
  if (value.size() == sizeof out) std::memcpy(&out, value.data(), sizeof out);
  return out;
}

NetlinkRequest rule_request(std::uint16_t type, std::uint16_t flags, AddressFamily family) {
  fib_rule_hdr header{};
  header.family = number(family);
  header.table = kTable;
  header.action = FR_ACT_TO_TBL;
  NetlinkRequest request(type, flags, header);
  request.attribute(FRA_PRIORITY, kPriority).attribute(FRA_FWMARK, kReplyMark).attribute(FRA_FWMASK, kMarkMask);
  return request;
}

NetlinkRequest route_request(std::uint16_t type, std::uint16_t flags, AddressFamily family) {
  rtmsg header{};
  header.rtm_family = number(family);
  header.rtm_table = kTable;
  header.rtm_protocol = RTPROT_BOOT;
  header.rtm_scope = RT_SCOPE_HOST;
  header.rtm_type = RTN_LOCAL;
  NetlinkRequest request(type, flags, header);
  request.attribute(RTA_TABLE, kTable).attribute(RTA_OIF, std::uint32_t{::if_nametoindex("lo")});
  return request;
}

// The header of a listed message, and `visit` for each of its attributes; false when it is too short.
template <typename Header>
bool read(std::span<const char> payload, Header& header,
          const std::function<void(std::uint16_t, std::span<const char>)>& visit) {
  if (payload.size() < sizeof header) return false;
  std::memcpy(&header, payload.data(), sizeof header);
  for_each_attribute(payload.subspan(NLMSG_ALIGN(sizeof header)), visit);
  return true;
}

// Our rule, without conditions of anybody else.
bool is_our_rule(std::span<const char> payload) {
  fib_rule_hdr header{};
  std::uint32_t table = 0, priority = 0, mark = 0, mask = 0;
  bool more = false;
  const bool whole = read(payload, header, [&](std::uint16_t type, std::span<const char> value) {
    switch (type) {
      case FRA_TABLE: table = as_number(value); break;
      case FRA_PRIORITY: priority = as_number(value); break;
      case FRA_FWMARK: mark = as_number(value); break;
      case FRA_FWMASK: mask = as_number(value); break;
      case FRA_SRC:
      case FRA_DST:
      case FRA_IIFNAME:
      case FRA_OIFNAME:
      case FRA_UID_RANGE:
      case FRA_IP_PROTO:
      case FRA_SPORT_RANGE:
      case FRA_DPORT_RANGE: more = true; break;
      default: break;
    }
  });
  return whole && !more && header.action == FR_ACT_TO_TBL && !(header.flags & FIB_RULE_INVERT) && header.tos == 0 &&
         table == kTable && priority == kPriority && mark == kReplyMark && mask == kMarkMask;
}

bool is_our_route(std::span<const char> payload) {
  rtmsg header{};
  std::uint32_t table = 0, interface = 0;
  const bool whole = read(payload, header, [&](std::uint16_t type, std::span<const char> value) {
    if (type == RTA_TABLE) table = as_number(value);
    if (type == RTA_OIF) interface = as_number(value);
  });
  return whole && header.rtm_type == RTN_LOCAL && header.rtm_dst_len == 0 && header.rtm_src_len == 0 && table == kTable &&
         interface == ::if_nametoindex("lo");
}

Result<bool> has(Netlink& netlink, AddressFamily family, bool rule) {
  bool found = false;
  const auto visit = [&](std::uint16_t, std::span<const char> payload) {
    found = found || (rule ? is_our_rule(payload) : is_our_route(payload));
  };
  if (rule) {
    fib_rule_hdr header{};
    header.family = number(family);
    WEFT_TRY_VOID(netlink.list(NetlinkRequest(RTM_GETRULE, NLM_F_DUMP, header), "list ip rules", visit));
  } else {
    rtmsg header{};
    header.rtm_family = number(family);
    WEFT_TRY_VOID(netlink.list(NetlinkRequest(RTM_GETROUTE, NLM_F_DUMP, header), "list routes", visit));
  }
  return found;
}

}  // namespace

Result<void> bring_up_loopback() {
  const Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno(errno, "open a socket");
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  if (::ioctl(fd.get(), SIOCGIFFLAGS, &request) != 0) return fail_errno(errno, "find lo");
  if (request.ifr_flags & IFF_UP) return {};
  request.ifr_flags |= IFF_UP;
  if (::ioctl(fd.get(), SIOCSIFFLAGS, &request) != 0) return fail_errno(errno, "bring up lo");
  return {};
}

Result<void> add_reply_route(AddressFamily family) {
  WEFT_TRY(Netlink netlink, Netlink::open(NETLINK_ROUTE));
  WEFT_TRY(const bool rule, has(netlink, family, true));
  if (!rule) {
    WEFT_TRY_VOID(netlink.execute(rule_request(RTM_NEWRULE, NLM_F_CREATE, family), "add the ip rule for replies"));
  }
  WEFT_TRY(const bool route, has(netlink, family, false));
  if (route) return {};
  return netlink.execute(route_request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, family), "add the route for replies");
}

Result<void> remove_reply_route(AddressFamily family) {
  const auto absent = [](const Error& error) {
    return error.os_error() == ENOENT || error.os_error() == ESRCH || error.os_error() == ENODEV ||
           error.os_error() == EAFNOSUPPORT || error.os_error() == EOPNOTSUPP;
  };
  WEFT_TRY(Netlink netlink, Netlink::open(NETLINK_ROUTE));
  for (int left = kRulesMax; left > 0; --left) {
    auto removed = netlink.execute(rule_request(RTM_DELRULE, 0, family), "remove the ip rule for replies");
    if (removed) continue;
    if (!absent(removed.error())) return removed;
    break;
  }
  auto removed = netlink.execute(route_request(RTM_DELROUTE, 0, family), "remove the route for replies");
  if (!removed && !absent(removed.error())) return removed;
  return {};
}

Result<bool> has_reply_route(AddressFamily family) {
  WEFT_TRY(Netlink netlink, Netlink::open(NETLINK_ROUTE));
  WEFT_TRY(const bool rule, has(netlink, family, true));
  if (!rule) return false;
  return has(netlink, family, false);
}

}  // namespace weft::cni::redirect
