#include "lib/hbone/accept.h"

#include "lib/async/scope.h"

namespace weft::hbone {
namespace {

std::string_view status_of(Refusal why) {
  switch (why) {
    case Refusal::kBadRequest: return "400";
    case Refusal::kUnauthorized: return "401";
    case Refusal::kUnavailable: return "503";
  }
  return "503";
}

}  // namespace

Result<http2::StreamPtr> IncomingTunnel::accept(std::string_view baggage) {
  http2::Headers headers = {{":status", "200"}};
  if (!baggage.empty()) headers.emplace_back("baggage", baggage);
  auto answered = stream_->respond(headers, http2::Stream::Body::kFollows);
  if (!answered) return fail(std::move(answered).error().on(Side::kDownstream));
  return std::move(stream_);
}

void IncomingTunnel::refuse(Refusal why) {
  // Fails when the caller has gone already.
  (void)stream_->respond({{":status", std::string(status_of(why))}}, http2::Stream::Body::kNone);
  stream_.reset();
}

Task<Result<void>> serve(Loop& loop, http2::Settings settings, io::StreamPtr transport, TunnelHandler handler,
                         StopToken drain, StopToken stop) {
  auto connection = http2::Connection::create(loop, http2::Role::kServer, settings, std::move(transport));
  Scope tunnels(loop, stop);
  connection->on_request([&tunnels, &handler](http2::StreamPtr stream) {
    const auto* method = http2::find(stream->request(), ":method");
    // Extended CONNECT (RFC 8441) is another protocol.
    const bool plain_connect = method && *method == "CONNECT" && !http2::find(stream->request(), ":protocol");
    IncomingTunnel tunnel(std::move(stream));
    if (!plain_connect) {
      tunnel.refuse(Refusal::kBadRequest);
      return;
    }
    tunnels.spawn(handler(std::move(tunnel), tunnels.token()));
  });
  StopCallback on_drain(drain, [&connection] { connection->shutdown(); });
  auto outcome = co_await connection->run(stop);
  // No connection, no request: those already posted are dropped.
  connection->on_request({});
  co_await tunnels.join();
  co_return outcome;
}

}  // namespace weft::hbone
