#include "lib/base/ip.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace weft {
namespace {

constexpr std::array<std::uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

std::optional<unsigned> parse_decimal(std::string_view text, unsigned max) {
  unsigned value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size() || value > max) return std::nullopt;
  return value;
}

}  // namespace

IpAddress IpAddress::v4(std::array<std::uint8_t, 4> bytes) {
  IpAddress ip;
  std::copy(bytes.begin(), bytes.end(), ip.bytes_.begin());
  return ip;
}

IpAddress IpAddress::v6(std::array<std::uint8_t, 16> bytes) {
  if (std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes.begin()))
    return v4({bytes[12], bytes[13], bytes[14], bytes[15]});
  IpAddress ip;
  ip.is_v6_ = true;
  ip.bytes_ = bytes;
  return ip;
}

Result<IpAddress> IpAddress::from_bytes(std::span<const std::uint8_t> bytes) {
  if (bytes.size() == 4) return v4({bytes[0], bytes[1], bytes[2], bytes[3]});
  if (bytes.size() == 16) {
    std::array<std::uint8_t, 16> copy{};
    std::copy(bytes.begin(), bytes.end(), copy.begin());
    return v6(copy);
  }
  return fail(ErrorCode::kInvalidArgument, "failed to parse address, had " + std::to_string(bytes.size()) + " bytes");
}

Result<IpAddress> IpAddress::parse(std::string_view text) {
  std::string copy(text);
  std::array<std::uint8_t, 16> bytes{};
  if (inet_pton(AF_INET, copy.c_str(), bytes.data()) == 1 && copy.size() == text.size())
    return v4({bytes[0], bytes[1], bytes[2], bytes[3]});
  if (text.find('\0') == text.npos && inet_pton(AF_INET6, copy.c_str(), bytes.data()) == 1) return v6(bytes);
  return fail(ErrorCode::kInvalidArgument, "not an IP address: " + copy);
}

IpAddress IpAddress::loopback(bool ipv6) {
  if (!ipv6) return v4({127, 0, 0, 1});
  std::array<std::uint8_t, 16> bytes{};
  bytes[15] = 1;
  return v6(bytes);
}

bool IpAddress::is_loopback() const { return is_v6_ ? *this == loopback(true) : bytes_[0] == 127; }

bool IpAddress::is_unspecified() const {
  return std::all_of(bytes_.begin(), bytes_.end(), [](std::uint8_t b) { return b == 0; });
}

bool IpAddress::is_multicast() const { return is_v6_ ? bytes_[0] == 0xff : bytes_[0] >> 4 == 0xe; }

bool IpAddress::is_broadcast() const { return *this == v4({255, 255, 255, 255}); }

std::string IpAddress::to_string() const {
  char text[INET6_ADDRSTRLEN];
  return inet_ntop(is_v6_ ? AF_INET6 : AF_INET, bytes_.data(), text, sizeof text);
}

Result<SocketAddress> SocketAddress::parse(std::string_view text) {
  auto colon = text.rfind(':');
  auto invalid = [&] { return fail(ErrorCode::kInvalidArgument, "not an ip:port: " + std::string(text)); };
  if (colon == text.npos) return invalid();
  auto port = parse_decimal(text.substr(colon + 1), 65535);
  auto host = text.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  auto ip = IpAddress::parse(host);
  if (!port || !ip || (host.find(':') != host.npos) != bracketed) return invalid();
  return SocketAddress(*ip, static_cast<std::uint16_t>(*port));
}

Result<SocketAddress> SocketAddress::from_sockaddr(const sockaddr* address, socklen_t size) {
  if (address->sa_family == AF_INET && size >= sizeof(sockaddr_in)) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(address);
    std::array<std::uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &in->sin_addr, 4);
    return SocketAddress(IpAddress::v4(bytes), ntohs(in->sin_port));
  }
  if (address->sa_family == AF_INET6 && size >= sizeof(sockaddr_in6)) {
    const auto* in = reinterpret_cast<const sockaddr_in6*>(address);
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &in->sin6_addr, 16);
    return SocketAddress(IpAddress::v6(bytes), ntohs(in->sin6_port));
  }
  return fail(ErrorCode::kInvalidArgument, "not an internet address");
}

socklen_t SocketAddress::to_sockaddr(sockaddr_storage& out) const {
  std::memset(&out, 0, sizeof out);
  if (ip_.is_v4()) {
    auto* in = reinterpret_cast<sockaddr_in*>(&out);
    in->sin_family = AF_INET;
    in->sin_port = htons(port_);
    std::memcpy(&in->sin_addr, ip_.bytes().data(), 4);
    return sizeof *in;
  }
  auto* in = reinterpret_cast<sockaddr_in6*>(&out);
  in->sin6_family = AF_INET6;
  in->sin6_port = htons(port_);
  std::memcpy(&in->sin6_addr, ip_.bytes().data(), 16);
  return sizeof *in;
}

std::string SocketAddress::to_string() const {
  auto port = std::to_string(port_);
  return ip_.is_v6() ? "[" + ip_.to_string() + "]:" + port : ip_.to_string() + ":" + port;
}

Result<Cidr> Cidr::make(IpAddress address, unsigned length) {
  if (length > address.bytes().size() * 8)
    return fail(ErrorCode::kInvalidArgument,
                "prefix length " + std::to_string(length) + " is too long for " + address.to_string());
  Cidr cidr;
  cidr.address_ = address;
  cidr.length_ = length;
  return cidr;
}

Result<Cidr> Cidr::parse(std::string_view text) {
  auto slash = text.find('/');
  WEFT_TRY(auto ip, IpAddress::parse(text.substr(0, slash)));
  if (slash == text.npos) return make(ip, static_cast<unsigned>(ip.bytes().size() * 8));
  auto length = parse_decimal(text.substr(slash + 1), 128);
  if (!length) return fail(ErrorCode::kInvalidArgument, "not an address block: " + std::string(text));
  return make(ip, *length);
}

bool Cidr::contains(const IpAddress& ip) const {
  if (ip.is_v6() != address_.is_v6()) return false;
  auto mine = address_.bytes();
  auto theirs = ip.bytes();
  const unsigned whole = length_ / 8;
  if (!std::equal(mine.begin(), mine.begin() + whole, theirs.begin())) return false;
  const unsigned rest = length_ % 8;
  if (rest == 0) return true;
  const auto mask = static_cast<std::uint8_t>(0xff << (8 - rest));
  return (mine[whole] & mask) == (theirs[whole] & mask);
}

std::string Cidr::to_string() const { return address_.to_string() + "/" + std::to_string(length_); }

}  // namespace weft

std::size_t std::hash<weft::IpAddress>::operator()(const weft::IpAddress& ip) const noexcept {
  auto bytes = ip.bytes();
  return std::hash<std::string_view>{}({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

std::size_t std::hash<weft::SocketAddress>::operator()(const weft::SocketAddress& address) const noexcept {
  return std::hash<weft::IpAddress>{}(address.ip()) * 1000003u ^ address.port();
}
