// Serving tunnels: the requests of one HTTP/2 connection, each handled by its own task.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "lib/async/loop.h"
#include "lib/hbone/headers.h"
#include "lib/http2/connection.h"

namespace weft::hbone {

// Why a tunnel is not opened; each has one status.
enum class Refusal {
  kBadRequest,    // 400: authority malformed or not ours
  kUnauthorized,  // 401: policy
  kUnavailable,   // 503: unknown destination, or it cannot be reached
};

// One CONNECT waiting for its answer. Dropped unanswered, its stream is reset.
class IncomingTunnel {
 public:
  explicit IncomingTunnel(http2::StreamPtr stream)
      : request_(parse_request(stream->request())), stream_(std::move(stream)) {}

  const ReceivedRequest& request() const { return request_; }
  // Answers 200 and hands the bytes over. Call it when the destination is connected. Fails when the caller has gone.
  Result<http2::StreamPtr> accept(std::string_view baggage);
  void refuse(Refusal why);
  // Called once when the caller takes the request back before it is answered. Take it back (an empty one) before what it
  // refers to is gone.
  void on_lost(std::function<void()> lost) { stream_->on_lost(std::move(lost)); }

 private:
  ReceivedRequest request_;
  http2::StreamPtr stream_;
};

using TunnelHandler = std::function<Task<void>(IncomingTunnel tunnel, StopToken stop)>;
// Hears what was wrong with a request that no handler sees.
using OnNoTunnel = std::function<void(std::string_view problem)>;

// What a connection came to.
struct Served {
  Result<void> outcome;                 // as of http2::Connection::run()
  std::optional<http2::Breach> breach;  // what the peer did too much of
};
// Hears of it at once: a tunnel may outlive its connection for as long as its application takes nothing.
using OnEnd = std::function<void(const Served& served)>;

// Serves the connection until it is over; then waits for the handlers. Anything but CONNECT is answered 400 here.
// `drain`: no new requests from then on, open tunnels go on. `stop`: everything ends, handlers see their token.
Task<void> serve(Loop& loop, http2::Settings settings, io::StreamPtr transport, TunnelHandler handler, StopToken drain,
                 StopToken stop, OnNoTunnel on_no_tunnel = {}, OnEnd on_end = {});

}  // namespace weft::hbone
