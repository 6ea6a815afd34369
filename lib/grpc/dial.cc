#include "lib/grpc/dial.h"

#include <charconv>

#include "lib/tls/stream.h"

namespace weft::grpc {
namespace {

constexpr std::string_view kHttps = "https://";
constexpr std::string_view kHttp = "http://";
// RFC 1035 2.3.4.
constexpr std::size_t kHostMax = 253;

std::unexpected<Error> invalid(std::string_view text, std::string_view why) {
  return fail(ErrorCode::kInvalidArgument, "invalid uri: " + std::string(text) + ": " + std::string(why));
}

bool is_host(std::string_view host) {
  if (host.empty() || host.size() > kHostMax) return false;
  if (IpAddress::parse(host)) return true;
  for (const char c : host) {
    const bool fine =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
    if (!fine) return false;
  }
  return true;
}

}  // namespace

Result<ServerAddress> ServerAddress::parse(std::string_view text) {
  ServerAddress address;
  std::string_view rest = text;
  if (rest.starts_with(kHttp)) {
    address.transport = Transport::kClearText;
    rest.remove_prefix(kHttp.size());
  } else if (rest.starts_with(kHttps)) {
    rest.remove_prefix(kHttps.size());
  } else if (rest.find("://") != std::string_view::npos) {
    return invalid(text, "the scheme is neither https nor http");
  }
  if (rest.ends_with('/')) rest.remove_suffix(1);
  if (rest.find_first_of("/?#@ ") != std::string_view::npos) return invalid(text, "only a host and a port are expected");
  address.authority = rest;

  std::string_view port;
  bool has_port = false;
  if (rest.starts_with('[')) {
    const auto end = rest.find(']');
    if (end == std::string_view::npos) return invalid(text, "']' is missing");
    address.host = rest.substr(1, end - 1);
    auto ip = IpAddress::parse(address.host);
    if (!ip || !ip->is_v6()) return invalid(text, "no IPv6 address between the brackets");
    rest.remove_prefix(end + 1);
    has_port = !rest.empty();
    if (has_port && rest.front() != ':') return invalid(text, "a colon must follow ']'");
    if (has_port) port = rest.substr(1);
  } else {
    const auto colon = rest.find(':');
    has_port = colon != std::string_view::npos;
    address.host = rest.substr(0, colon);
    if (has_port) port = rest.substr(colon + 1);
  }
  if (!is_host(address.host)) return invalid(text, "no host name or address");
  address.port = address.transport == Transport::kTls ? 443 : 80;
  if (has_port) {
    const auto [end, problem] = std::from_chars(port.data(), port.data() + port.size(), address.port);
    if (problem != std::errc() || end != port.data() + port.size() || address.port == 0)
      return invalid(text, "no port number");
  }
  if (address.transport == Transport::kClearText) {
    auto ip = IpAddress::parse(address.host);
    if (!ip || !ip->is_loopback()) return invalid(text, "clear text is allowed to a loopback address only, use https");
  }
  return address;
}

Dialer::Dialer(Loop& loop, io::Network& network, io::Resolver& resolver, ServerAddress address, ContextSource context,
               DialOptions options)
    : loop_(loop),
      network_(network),
      resolver_(resolver),
      address_(std::move(address)),
      context_(std::move(context)),
      options_(std::move(options)) {}

Task<Result<io::StreamPtr>> Dialer::dial(StopToken stop) {
  std::shared_ptr<const tls::Context> context;
  if (address_.transport == Transport::kTls) {
    auto current = context_();
    if (!current) co_return fail(std::move(current).error());
    context = std::move(*current);
  }
  auto connected = co_await connect(stop);
  if (!connected) co_return fail(std::move(connected).error().on(Side::kUpstream));
  if (!context) co_return std::move(*connected);
  auto secured = co_await secure(std::move(*connected), std::move(context), stop);
  if (!secured) co_return fail(std::move(secured).error().on(Side::kUpstream));
  co_return std::move(*secured);
}

Task<Result<io::StreamPtr>> Dialer::connect(StopToken stop) {
  Deadline whole(loop_, options_.connect_timeout, stop);
  std::vector<IpAddress> addresses;
  if (auto literal = IpAddress::parse(address_.host)) {
    addresses.push_back(*literal);
  } else {
    auto resolved = co_await resolver_.resolve(address_.host, whole.token());
    if (!resolved) co_return fail(whole.explain(std::move(resolved).error(), "resolve " + address_.host));
    addresses = std::move(*resolved);
  }
  Error last(ErrorCode::kNotFound, "resolve " + address_.host + ": no addresses");
  const io::ConnectOptions options{.mark = options_.mark, .keepalive = options_.keepalive};
  const Duration share = options_.connect_timeout / static_cast<int>(std::max<std::size_t>(addresses.size(), 1));
  for (const auto& ip : addresses) {
    const SocketAddress target(ip, address_.port);
    Deadline one(loop_, share, stop);
    auto stream = co_await network_.connect(target, options, one.token());
    if (stream) co_return std::move(*stream);
    last = one.explain(std::move(stream).error(), "connect " + target.to_string());
    if (stop.stop_requested()) break;
  }
  co_return fail(std::move(last));
}

Task<Result<io::StreamPtr>> Dialer::secure(io::StreamPtr below, std::shared_ptr<const tls::Context> context,
                                           StopToken stop) {
  Deadline deadline(loop_, options_.handshake_timeout, stop);
  tls::Verification verification{tls::NamedServer{address_.host, options_.alternative_host}, loop_.clock().wall()};
  auto stream = co_await tls::connect(std::move(below), std::move(context), std::move(verification), deadline.token());
  if (!stream) co_return fail(deadline.explain(std::move(stream).error(), "tls handshake with " + address_.authority));
  if ((*stream)->engine().alpn() != "h2") {
    co_return fail(ErrorCode::kProtocol, address_.authority + " did not agree to speak HTTP/2");
  }
  co_return std::move(*stream);
}

}  // namespace weft::grpc
