#include "cni-plugin/redirect/conntrack.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "cni-plugin/redirect/lines.h"
#include "cni-plugin/redirect/netlink.h"
#include "cni-plugin/redirect/proc.h"
#include "cni-plugin/redirect/rules.h"
#include "lib/base/log.h"

namespace weft::cni::redirect {
namespace {

constexpr const char* kTarget = "redirect";
// How long the kernel keeps an established connection that is silent; the first packet sets it anew.
constexpr std::uint32_t kEstablishedSeconds = 432'000;

template <typename Int>
bool read_hex(std::string_view text, Int& out) {
  const auto end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, out, 16);
  return error == std::errc() && stop == end;
}

// "0100007F:1F90": words of four bytes as this machine keeps them, then the port.
bool read_address(std::string_view text, SocketAddress& out) {
  const auto colon = text.find(':');
  if (colon != 8 && colon != 32) return false;
  std::array<std::uint8_t, 16> bytes{};
  for (std::size_t at = 0; at < colon; at += 8) {
    std::uint32_t word = 0;
    if (!read_hex(text.substr(at, 8), word)) return false;
    std::memcpy(bytes.data() + at / 2, &word, 4);
  }
  std::uint16_t port = 0;
  if (!read_hex(text.substr(colon + 1), port)) return false;
  out = {colon == 8 ? IpAddress::v4({bytes[0], bytes[1], bytes[2], bytes[3]}) : IpAddress::v6(bytes), port};
  return true;
}

std::vector<Connection> open_connections() {
  std::vector<Connection> out;
  for (const char* path : {"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"}) {
    auto more = parse_open_connections(read_proc(path).value_or(""));
    out.insert(out.end(), more.begin(), more.end());
  }
  if (out.size() > kOpenConnectionsMax) {
    WEFT_LOG(kWarn, kTarget, "too many open connections, some will be reset", {"open", std::to_string(out.size())});
    out.resize(kOpenConnectionsMax);
  }
  return out;
}

void add_tuple(NetlinkRequest& request, std::uint16_t type, const SocketAddress& from, const SocketAddress& to) {
  request.nested(type, [&](NetlinkRequest& tuple) {
    tuple.nested(CTA_TUPLE_IP, [&](NetlinkRequest& ip) {
      const bool v4 = from.ip().is_v4();
      ip.bytes(v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, from.ip().bytes());
      ip.bytes(v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, to.ip().bytes());
    });
    tuple.nested(CTA_TUPLE_PROTO, [&](NetlinkRequest& protocol) {
      protocol.attribute(CTA_PROTO_NUM, std::uint8_t{IPPROTO_TCP});
      protocol.attribute(CTA_PROTO_SRC_PORT, htons(from.port()));
      protocol.attribute(CTA_PROTO_DST_PORT, htons(to.port()));
    });
  });
}

// Established, answered, and with nothing known of its sequence numbers.
NetlinkRequest entry(const Connection& connection) {
  nfgenmsg header{};
  header.nfgen_family = connection.local.ip().is_v4() ? AF_INET : AF_INET6;
  header.version = NFNETLINK_V0;
  NetlinkRequest request((NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_NEW, NLM_F_CREATE | NLM_F_EXCL, header);
  add_tuple(request, CTA_TUPLE_ORIG, connection.local, connection.remote);
  add_tuple(request, CTA_TUPLE_REPLY, connection.remote, connection.local);
  request.attribute(CTA_STATUS, htonl(IPS_CONFIRMED | IPS_SEEN_REPLY | IPS_ASSURED));
  request.attribute(CTA_TIMEOUT, htonl(kEstablishedSeconds)).attribute(CTA_MARK, htonl(kDecidedMark));
  request.nested(CTA_PROTOINFO, [](NetlinkRequest& info) {
    info.nested(CTA_PROTOINFO_TCP, [](NetlinkRequest& tcp) {
      constexpr std::uint8_t kLiberal = IP_CT_TCP_FLAG_BE_LIBERAL;
      const nf_ct_tcp_flags flags{kLiberal, kLiberal};
      tcp.attribute(CTA_PROTOINFO_TCP_STATE, std::uint8_t{TCP_CONNTRACK_ESTABLISHED});
      tcp.attribute(CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, flags).attribute(CTA_PROTOINFO_TCP_FLAGS_REPLY, flags);
    });
  });
  return request;
}

}  // namespace

std::vector<Connection> parse_open_connections(std::string_view text) {
  // States of net/tcp_states.h: SYN_SENT only begins, TIME_WAIT and CLOSE are over, LISTEN is none.
  constexpr unsigned kSynSent = 2, kTimeWait = 6, kClose = 7, kListen = 10;
  std::vector<Connection> out;
  while (!text.empty()) {
    auto line = next_line(text);
    next_word(line);
    Connection connection;
    unsigned state = 0;
    if (!read_address(next_word(line), connection.local) || !read_address(next_word(line), connection.remote)) continue;
    if (!read_hex(next_word(line), state)) continue;
    if (state == kSynSent || state == kTimeWait || state == kClose || state == kListen) continue;
    if (connection.local.ip().is_loopback() || connection.remote.ip().is_loopback()) continue;
    if (connection.local.ip().is_v4() != connection.remote.ip().is_v4()) continue;
    out.push_back(connection);
  }
  return out;
}

void let_open_connections_be() {
  const auto open = open_connections();
  if (open.empty()) return;
  auto netlink = Netlink::open(NETLINK_NETFILTER);
  std::size_t failed = netlink ? 0 : open.size();
  std::string why = netlink ? "" : netlink.error().message();
  for (const auto& connection : open) {
    if (!netlink) break;
    auto entered = netlink->execute(entry(connection), "enter an open connection into conntrack");
    if (entered || entered.error().os_error() == EEXIST) continue;  // known: nothing is left to decide
    ++failed;
    why = entered.error().message();
  }
  if (failed == 0) return;
  WEFT_LOG(kWarn, kTarget, "open connections will be reset", {"connections", std::to_string(failed)}, {"error", why});
}

Result<void> forget_connections() {
  WEFT_TRY(Netlink netlink, Netlink::open(NETLINK_NETFILTER));
  nfgenmsg header{};
  header.nfgen_family = AF_UNSPEC;
  header.version = NFNETLINK_V0;
  NetlinkRequest request((NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE, 0, header);
  request.attribute(CTA_MARK, htonl(kDecidedMark)).attribute(CTA_MARK_MASK, htonl(kDecidedMark));
  return netlink.execute(std::move(request), "delete conntrack entries");
}

}  // namespace weft::cni::redirect
