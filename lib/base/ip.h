// IP addresses, socket addresses and address blocks as plain values. IPv4-mapped IPv6 is always canonicalised to IPv4.
#pragma once

#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "lib/base/result.h"

namespace weft {

class IpAddress {
 public:
  // 0.0.0.0
  IpAddress() = default;
  static IpAddress v4(std::array<std::uint8_t, 4> bytes);
  // ::ffff:a.b.c.d becomes the IPv4 address a.b.c.d.
  static IpAddress v6(std::array<std::uint8_t, 16> bytes);
  // 4 or 16 bytes in network order; anything else is kInvalidArgument.
  static Result<IpAddress> from_bytes(std::span<const std::uint8_t> bytes);
  // "10.0.0.1", "fd00::1" (no brackets, no scope).
  static Result<IpAddress> parse(std::string_view text);
  static IpAddress any(bool ipv6) { return ipv6 ? v6({}) : IpAddress{}; }
  static IpAddress loopback(bool ipv6);

  bool is_v4() const { return !is_v6_; }
  bool is_v6() const { return is_v6_; }
  bool is_loopback() const;
  bool is_unspecified() const;
  bool is_multicast() const;
  // 255.255.255.255; a subnet's own broadcast address cannot be told without its length.
  bool is_broadcast() const;
  // 4 or 16 bytes in network order; valid while this object lives.
  std::span<const std::uint8_t> bytes() const { return {bytes_.data(), is_v6_ ? 16u : 4u}; }
  std::string to_string() const;

  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;

 private:
  bool is_v6_ = false;
  std::array<std::uint8_t, 16> bytes_{};
};

class SocketAddress {
 public:
  SocketAddress() = default;
  SocketAddress(IpAddress ip, std::uint16_t port) : ip_(ip), port_(port) {}
  // "10.0.0.1:80", "[fd00::1]:80".
  static Result<SocketAddress> parse(std::string_view text);
  // From the kernel's form; IPv4-mapped addresses are canonicalised. Other families are kInvalidArgument.
  static Result<SocketAddress> from_sockaddr(const sockaddr* address, socklen_t size);

  const IpAddress& ip() const { return ip_; }
  std::uint16_t port() const { return port_; }
  // Fills `out` and returns the length used.
  socklen_t to_sockaddr(sockaddr_storage& out) const;
  std::string to_string() const;

  friend auto operator<=>(const SocketAddress&, const SocketAddress&) = default;

 private:
  IpAddress ip_;
  std::uint16_t port_ = 0;
};

// An address block, "10.0.0.0/8". Host bits are kept as written and ignored by contains().
class Cidr {
 public:
  Cidr() = default;
  // `length` above the family's width is kInvalidArgument.
  static Result<Cidr> make(IpAddress address, unsigned length);
  // "10.0.0.0/8", or a bare address meaning a full-length prefix.
  static Result<Cidr> parse(std::string_view text);

  bool contains(const IpAddress& ip) const;
  const IpAddress& address() const { return address_; }
  unsigned length() const { return length_; }
  std::string to_string() const;

  friend auto operator<=>(const Cidr&, const Cidr&) = default;

 private:
  IpAddress address_;
  unsigned length_ = 0;
};

}  // namespace weft

template <>
struct std::hash<weft::IpAddress> {
  std::size_t operator()(const weft::IpAddress& ip) const noexcept;
};
template <>
struct std::hash<weft::SocketAddress> {
  std::size_t operator()(const weft::SocketAddress& address) const noexcept;
};
