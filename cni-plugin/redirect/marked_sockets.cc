#include "cni-plugin/redirect/marked_sockets.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "cni-plugin/redirect/inside.h"
#include "cni-plugin/redirect/proc.h"

namespace weft::cni::redirect {
namespace {

constexpr std::uint32_t state(unsigned number) { return 1U << number; }
// Those in which a process may have the socket open and a connection goes on or begins.
constexpr std::uint32_t kStates = state(TCP_ESTABLISHED) | state(TCP_SYN_SENT) | state(TCP_FIN_WAIT1) |
                                  state(TCP_FIN_WAIT2) | state(TCP_CLOSE_WAIT) | state(TCP_LAST_ACK) | state(TCP_CLOSING);

// A program of one condition for the kernel's inet_diag_bc_run(): it goes on at `yes`, the end, for sockets that fulfil it,
// and at `no`, four bytes behind the end, for others.
struct MarkCondition {
  inet_diag_bc_op operation;
  inet_diag_markcond mark;
};
constexpr MarkCondition kCarriesProxyMark{{INET_DIAG_BC_MARK_COND, sizeof(MarkCondition), sizeof(MarkCondition) + 4},
                                          {kProxyMark, kMarkMask}};
static_assert(sizeof(MarkCondition) == 12);

bool accepted_sockets_take_marks() {
  return read_proc("/proc/sys/net/ipv4/tcp_fwmark_accept").value_or("0").starts_with("1");
}

Result<std::vector<MarkedSocket>> marked_sockets_here() {
  std::vector<MarkedSocket> found;
  if (accepted_sockets_take_marks()) return found;
  WEFT_TRY(Netlink netlink, Netlink::open(NETLINK_SOCK_DIAG));
  for (const auto family : {AddressFamily::kIpv4, AddressFamily::kIpv6}) {
    const auto visit = [&found](std::uint16_t type, std::span<const char> payload) {
      if (type != SOCK_DIAG_BY_FAMILY) return;
      if (auto socket = read_marked_socket(payload)) found.push_back(*socket);
    };
    WEFT_TRY_VOID(
        netlink.list(marked_sockets_request(family), "list sockets with the proxy's mark", visit, kMarkedBytesMax));
  }
  return found;
}

}  // namespace

NetlinkRequest marked_sockets_request(AddressFamily family) {
  inet_diag_req_v2 wanted{};
  wanted.sdiag_family = family == AddressFamily::kIpv4 ? AF_INET : AF_INET6;
  wanted.sdiag_protocol = IPPROTO_TCP;
  wanted.idiag_states = kStates;
  NetlinkRequest request(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, wanted);
  request.attribute(INET_DIAG_REQ_BYTECODE, kCarriesProxyMark);
  return request;
}

std::optional<MarkedSocket> read_marked_socket(std::span<const char> payload) {
  inet_diag_msg header{};
  if (payload.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, payload.data(), sizeof header);
  bool marked = false;
  for_each_attribute(payload.subspan(sizeof header), [&marked](std::uint16_t type, std::span<const char> value) {
    std::uint32_t mark = 0;
    if (type != INET_DIAG_MARK || value.size() != sizeof mark) return;
    std::memcpy(&mark, value.data(), sizeof mark);
    marked = (mark & kMarkMask) == kProxyMark;
  });
  if (!marked || header.idiag_inode == 0) return std::nullopt;
  if (header.idiag_family != AF_INET && header.idiag_family != AF_INET6) return std::nullopt;
  const std::span all(reinterpret_cast<const std::uint8_t*>(header.id.idiag_dst), sizeof header.id.idiag_dst);
  auto ip = IpAddress::from_bytes(all.first(header.idiag_family == AF_INET ? 4 : 16));
  if (!ip || ip->is_loopback()) return std::nullopt;
  return MarkedSocket{header.idiag_inode, {*ip, ntohs(header.id.idiag_dport)}};
}

Result<std::vector<MarkedSocket>> marked_sockets(const Fd& netns) {
  return inside<std::vector<MarkedSocket>>(netns, marked_sockets_here);
}

}  // namespace weft::cni::redirect
