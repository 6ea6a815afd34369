#include "cni-plugin/redirect/netlink.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>

namespace weft::cni::redirect {
namespace {

// The kernel's own limit on one datagram of a list (netlink_dump).
constexpr std::size_t kDatagramMax = 32 * 1024;

}  // namespace

std::span<const char> NetlinkRequest::message() {
  const auto size = static_cast<std::uint32_t>(bytes_.size());
  std::memcpy(bytes_.data() + offsetof(nlmsghdr, nlmsg_len), &size, sizeof size);
  return bytes_;
}

Result<Netlink> Netlink::open(int protocol) {
  Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd) return fail_errno(errno, "open a netlink socket");
  const timeval limit{.tv_sec = kReplyLimit.count(), .tv_usec = 0};
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0) {
    return fail_errno(errno, "set the time limit of a netlink socket");
  }
  return Netlink(std::move(fd));
}

Result<void> Netlink::execute(NetlinkRequest request, std::string_view what) {
  auto bytes = request.message();
  nlmsghdr header;
  std::memcpy(&header, bytes.data(), sizeof header);
  header.nlmsg_flags |= NLM_F_ACK;
  std::memcpy(const_cast<char*>(bytes.data()), &header, sizeof header);
  return list(std::move(request), what, [](std::uint16_t, std::span<const char>) {});
}

// Both kinds of answer end with a message that says so: NLMSG_ERROR (0 is the acknowledgement) or NLMSG_DONE.
Result<void> Netlink::list(NetlinkRequest request, std::string_view what, const Visitor& visit, std::size_t bytes_max) {
  const auto bytes = request.message();
  if (::send(fd_.get(), bytes.data(), bytes.size(), 0) < 0) return fail_errno(errno, what);
  std::vector<char> datagram(kDatagramMax);
  for (std::size_t bytes = 0;;) {
    const auto got = ::recv(fd_.get(), datagram.data(), datagram.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno == EAGAIN ? ETIMEDOUT : errno, what);
    bytes += static_cast<std::size_t>(got);
    if (bytes > bytes_max) {
      return fail(ErrorCode::kLimit,
                  std::string(what) + ": the kernel's answer is longer than " + std::to_string(bytes_max) + " bytes");
    }
    std::span<const char> rest(datagram.data(), static_cast<std::size_t>(got));
    while (rest.size() >= sizeof(nlmsghdr)) {
      nlmsghdr header;
      std::memcpy(&header, rest.data(), sizeof header);
      if (header.nlmsg_len < sizeof header || header.nlmsg_len > rest.size()) {
        return fail(ErrorCode::kProtocol, std::string(what) + ": the kernel's answer is cut off");
      }
      const auto payload = rest.subspan(sizeof header, header.nlmsg_len - sizeof header);
      if (header.nlmsg_type == NLMSG_ERROR || header.nlmsg_type == NLMSG_DONE) {
        int error = 0;
        if (payload.size() >= sizeof error) std::memcpy(&error, payload.data(), sizeof error);
        if (error != 0) return fail_errno(-error, what);
        return {};
      }
      visit(header.nlmsg_type, payload);
      rest = rest.subspan(std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), rest.size()));
    }
  }
}

void for_each_attribute(std::span<const char> bytes,
                        const std::function<void(std::uint16_t, std::span<const char>)>& visit) {
  while (bytes.size() >= sizeof(nlattr)) {
    nlattr header;
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header.nla_len < sizeof header || header.nla_len > bytes.size()) return;
    visit(header.nla_type & NLA_TYPE_MASK, bytes.subspan(sizeof header, header.nla_len - sizeof header));
    bytes = bytes.subspan(std::min<std::size_t>(NLA_ALIGN(header.nla_len), bytes.size()));
  }
}

}  // namespace weft::cni::redirect
