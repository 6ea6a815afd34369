#include "cni-plugin/redirect/marked_sockets.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>

#include <catch2/catch_test_macros.hpp>
#include <string>

using namespace weft;
using namespace weft::cni::redirect;

namespace {

inet_diag_msg socket_of(int family, const std::string& remote, std::uint16_t port, std::uint32_t inode) {
  inet_diag_msg header{};
  header.idiag_family = static_cast<std::uint8_t>(family);
  header.idiag_state = TCP_ESTABLISHED;
  header.idiag_inode = inode;
  header.id.idiag_dport = htons(port);
  REQUIRE(::inet_pton(family, remote.c_str(), header.id.idiag_dst) == 1);
  return header;
}

// The message as it follows its netlink header, with attributes before and after the mark as the kernel has them.
std::string message(const inet_diag_msg& header, std::uint32_t mark) {
  NetlinkRequest request(SOCK_DIAG_BY_FAMILY, 0, header);
  request.attribute(INET_DIAG_SHUTDOWN, std::uint8_t{0}).attribute(INET_DIAG_MARK, mark);
  request.attribute(INET_DIAG_CGROUP_ID, std::uint64_t{1});
  const auto bytes = request.message();
  return {bytes.begin() + sizeof(nlmsghdr), bytes.end()};
}

std::optional<MarkedSocket> read(const inet_diag_msg& header, std::uint32_t mark) {
  return read_marked_socket(message(header, mark));
}

}  // namespace

TEST_CASE("the question is for TCP of one family, for the mark under its mask, and for sockets somebody may have open") {
  for (const auto family : {AddressFamily::kIpv4, AddressFamily::kIpv6}) {
    auto request = marked_sockets_request(family);
    const auto bytes = request.message();
    nlmsghdr header{};
    inet_diag_req_v2 wanted{};
    REQUIRE(bytes.size() == sizeof header + sizeof wanted + sizeof(nlattr) + 12);
    std::memcpy(&header, bytes.data(), sizeof header);
    std::memcpy(&wanted, bytes.data() + sizeof header, sizeof wanted);
    CHECK(header.nlmsg_len == bytes.size());
    CHECK(header.nlmsg_type == SOCK_DIAG_BY_FAMILY);
    CHECK(header.nlmsg_flags == (NLM_F_REQUEST | NLM_F_DUMP));
    CHECK(wanted.sdiag_family == (family == AddressFamily::kIpv4 ? AF_INET : AF_INET6));
    CHECK(wanted.sdiag_protocol == IPPROTO_TCP);
    for (const auto state : {TCP_LISTEN, TCP_TIME_WAIT, TCP_CLOSE, TCP_SYN_RECV})
      CHECK(!(wanted.idiag_states & (1U << state)));
    for (const auto state : {TCP_ESTABLISHED, TCP_SYN_SENT, TCP_CLOSE_WAIT}) CHECK(wanted.idiag_states & (1U << state));
    int conditions = 0;
    for_each_attribute(bytes.subspan(sizeof header + sizeof wanted), [&](std::uint16_t type, std::span<const char> value) {
      REQUIRE(type == INET_DIAG_REQ_BYTECODE);
      REQUIRE(value.size() == 12);
      inet_diag_bc_op operation{};
      inet_diag_markcond mark{};
      std::memcpy(&operation, value.data(), sizeof operation);
      std::memcpy(&mark, value.data() + sizeof operation, sizeof mark);
      CHECK(operation.code == INET_DIAG_BC_MARK_COND);
      CHECK(operation.yes == 12);
      CHECK(operation.no == 16);
      CHECK(mark.mark == 0x539);
      CHECK(mark.mask == 0xfff);
      ++conditions;
    });
    CHECK(conditions == 1);
  }
}

TEST_CASE("a marked socket is told by its inode and where it leads, of either family") {
  CHECK(read(socket_of(AF_INET, "10.0.0.7", 443, 77), 0x539) ==
        MarkedSocket{77, SocketAddress::parse("10.0.0.7:443").value()});
  CHECK(read(socket_of(AF_INET6, "fd00::7", 80, 78), 0x539) ==
        MarkedSocket{78, SocketAddress::parse("[fd00::7]:80").value()});
  CHECK(read(socket_of(AF_INET6, "::ffff:10.0.0.7", 80, 79), 0x539) ==
        MarkedSocket{79, SocketAddress::parse("10.0.0.7:80").value()});
  // Rules look at the lower twelve bits.
  CHECK(read(socket_of(AF_INET, "10.0.0.7", 443, 77), 0xabc00539));
}

TEST_CASE("sockets without the mark, without an owner, of another family or to loopback are not told of") {
  CHECK(read(socket_of(AF_INET, "10.0.0.7", 443, 77), 0x539));
  for (const std::uint32_t mark : {0x0u, 0x111u, 0x538u, 0x1111u})
    CHECK(!read(socket_of(AF_INET, "10.0.0.7", 443, 77), mark));
  CHECK(!read(socket_of(AF_INET, "10.0.0.7", 443, 0), 0x539));
  CHECK(!read(socket_of(AF_INET, "127.0.0.9", 443, 77), 0x539));
  CHECK(!read(socket_of(AF_INET6, "::1", 443, 77), 0x539));
  auto other = socket_of(AF_INET, "10.0.0.7", 443, 77);
  other.idiag_family = AF_UNIX;
  CHECK(!read(other, 0x539));
}

TEST_CASE("an answer cut off anywhere, or with broken attributes, is no marked socket") {
  const auto header = socket_of(AF_INET, "10.0.0.7", 443, 77);
  const auto whole = message(header, 0x539);
  const auto mark_end = sizeof header + 8 + 8;  // after the shutdown and mark attributes
  for (std::size_t size = 0; size < mark_end; ++size) CHECK(!read_marked_socket(std::string_view(whole).substr(0, size)));
  for (std::size_t size = mark_end; size <= whole.size(); ++size)
    CHECK(read_marked_socket(std::string_view(whole).substr(0, size)));
  // Lengths that lead nowhere, or beyond the end.
  for (const std::uint16_t length : std::initializer_list<std::uint16_t>{0, 3, 255, 0xffff}) {
    auto broken = whole;
    std::memcpy(broken.data() + sizeof header, &length, sizeof length);
    CHECK(!read_marked_socket(broken));
  }
  auto narrow = whole;
  const std::uint16_t length = sizeof(nlattr) + 3;
  std::memcpy(narrow.data() + sizeof header + 8, &length, sizeof length);
  CHECK(!read_marked_socket(narrow));
}
