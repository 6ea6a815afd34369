// The little of netlink(7) that redirection needs: one request at a time, acknowledged or answered by a list.
//
// A socket belongs to the network namespace of the thread that opened it, for ever. Blocking, at most kReplyLimit a
// reply.
#pragma once

#include <linux/netlink.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/fd.h"
#include "lib/base/result.h"

namespace weft::cni::redirect {

// A request being written: header, a fixed part, then attributes.
class NetlinkRequest {
 public:
  template <typename Fixed>
  NetlinkRequest(std::uint16_t type, std::uint16_t flags, const Fixed& fixed) {
    nlmsghdr header{};
    header.nlmsg_type = type;
    header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    append(&header, sizeof header);
    append(&fixed, sizeof fixed);
  }
  template <typename Value>
  NetlinkRequest& attribute(std::uint16_t type, const Value& value) {
    const nlattr header{static_cast<std::uint16_t>(sizeof(nlattr) + sizeof value), type};
    append(&header, sizeof header);
    append(&value, sizeof value);
    return *this;
  }
  NetlinkRequest& bytes(std::uint16_t type, std::span<const std::uint8_t> value) {
    const nlattr header{static_cast<std::uint16_t>(sizeof(nlattr) + value.size()), type};
    append(&header, sizeof header);
    append(value.data(), value.size());
    return *this;
  }
  // Ends with a zero, as the kernel wants its names.
  NetlinkRequest& text(std::uint16_t type, std::string_view value) {
    const std::string whole(value);
    const nlattr header{static_cast<std::uint16_t>(sizeof(nlattr) + whole.size() + 1), type};
    append(&header, sizeof header);
    append(whole.c_str(), whole.size() + 1);
    return *this;
  }
  // `fill` adds what is inside.
  template <typename Fill>
  NetlinkRequest& nested(std::uint16_t type, Fill fill) {
    const auto at = bytes_.size();
    nlattr header{0, static_cast<std::uint16_t>(type | NLA_F_NESTED)};
    append(&header, sizeof header);
    fill(*this);
    header.nla_len = static_cast<std::uint16_t>(bytes_.size() - at);
    std::memcpy(bytes_.data() + at, &header, sizeof header);
    return *this;
  }
  // The message as sent; valid until the next change.
  std::span<const char> message();

 private:
  void append(const void* data, std::size_t size) {
    const auto at = bytes_.size();
    bytes_.resize(at + NLMSG_ALIGN(size));
    std::memcpy(bytes_.data() + at, data, size);
  }
  std::vector<char> bytes_;
};

class Netlink {
 public:
  static constexpr std::chrono::seconds kReplyLimit{2};  // the kernel answers while it is being asked

  // `protocol`: NETLINK_ROUTE, NETLINK_NETFILTER.
  static Result<Netlink> open(int protocol);

  // Sends and waits for the acknowledgement; the kernel's errno is the error's.
  Result<void> execute(NetlinkRequest request, std::string_view what);

  // Sends and calls `visit` with every message of the answer: its type, and what follows its header. kLimit once more than
  // `bytes_max` came; the socket is then of no more use.
  using Visitor = std::function<void(std::uint16_t type, std::span<const char> payload)>;
  Result<void> list(NetlinkRequest request, std::string_view what, const Visitor& visit,
                    std::size_t bytes_max = std::numeric_limits<std::size_t>::max());

 private:
  explicit Netlink(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

// Calls `visit` with the type (without flags) and value of every well-formed attribute in `bytes`.
void for_each_attribute(std::span<const char> bytes,
                        const std::function<void(std::uint16_t type, std::span<const char> value)>& visit);

}  // namespace weft::cni::redirect
