#include "ztunnel/inbound/proxy_header.h"

namespace weft::ztunnel {
namespace {

constexpr std::string_view kSignature{"\r\n\r\n\0\r\nQUIT\n", 12};
constexpr char kVersion2Proxy = 0x21;
constexpr char kTcp4 = 0x11;
constexpr char kTcp6 = 0x21;
constexpr char kIdentityTlv = static_cast<char>(0xd0);

void put16(std::string& out, std::size_t number) {
  out += static_cast<char>(number >> 8);
  out += static_cast<char>(number & 0xff);
}

void put_address(std::string& out, const IpAddress& ip, bool as_v6) {
  if (as_v6 && ip.is_v4()) out.append(10, '\0').append(2, static_cast<char>(0xff));
  for (const auto byte : ip.bytes()) out += static_cast<char>(byte);
}

}  // namespace

BufferChain make_proxy_header(const SocketAddress& source, const SocketAddress& destination,
                              const std::optional<model::Identity>& identity) {
  const bool v6 = source.ip().is_v6() || destination.ip().is_v6();
  std::string body;
  put_address(body, source.ip(), v6);
  put_address(body, destination.ip(), v6);
  put16(body, source.port());
  put16(body, destination.port());
  if (identity) {
    const std::string name = identity->to_string();
    body += kIdentityTlv;
    put16(body, name.size());
    body += name;
  }
  std::string header(kSignature);
  header += kVersion2Proxy;
  header += v6 ? kTcp6 : kTcp4;
  put16(header, body.size());
  BufferChain chain;
  chain.append(Buffer::copy_of(header + body));
  return chain;
}

}  // namespace weft::ztunnel
