// The way to a control-plane server: name, TCP, TLS. Made for Channel's connector.
//
// Thread: the loop's. The dialer outlives its calls.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lib/async/loop.h"
#include "lib/io/network.h"
#include "lib/io/resolver.h"
#include "lib/tls/context.h"

namespace weft::grpc {

enum class Transport { kTls, kClearText };

// "https://istiod.istio-system.svc:15012".
struct ServerAddress {
  Transport transport = Transport::kTls;
  std::string host;  // DNS name or IP address, without brackets
  std::uint16_t port = 0;
  std::string authority;  // as written between "//" and "/", for :authority

  // Scheme https or http, none meaning https; port 443 or 80 when absent; no path, query or user. kInvalidArgument
  // "invalid uri: ..." otherwise. Clear text is for loopback addresses only: whatever is asked of a control plane decides
  // whom the mesh trusts.
  static Result<ServerAddress> parse(std::string_view text);
};

struct DialOptions {
  // A name the server's certificate may carry instead of the host.
  std::optional<std::string> alternative_host;
  // For all addresses of the name together, each getting an equal share.
  Duration connect_timeout = std::chrono::seconds(5);
  Duration handshake_timeout = std::chrono::seconds(10);
  io::Keepalive keepalive{.time = std::chrono::seconds(300), .interval = std::chrono::seconds(75), .retries = 9};
  std::uint32_t mark = 0;  // SO_MARK, 0 for none
};

class Dialer {
 public:
  // Asked for each connection: the roots may have changed.
  using ContextSource = std::function<Result<std::shared_ptr<const tls::Context>>()>;

  // `context` may be null for clear text. Its ALPN must offer "h2".
  Dialer(Loop& loop, io::Network& network, io::Resolver& resolver, ServerAddress address, ContextSource context,
         DialOptions options = {});

  // A connected stream that speaks HTTP/2. Errors are on the upstream side.
  Task<Result<io::StreamPtr>> dial(StopToken stop);

 private:
  Task<Result<io::StreamPtr>> connect(StopToken stop);
  Task<Result<io::StreamPtr>> secure(io::StreamPtr below, std::shared_ptr<const tls::Context> context, StopToken stop);

  Loop& loop_;
  io::Network& network_;
  io::Resolver& resolver_;
  const ServerAddress address_;
  ContextSource context_;
  const DialOptions options_;
};

}  // namespace weft::grpc
