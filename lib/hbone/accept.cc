#include "lib/hbone/accept.h"

#include <algorithm>

#include "lib/async/scope.h"

namespace weft::hbone {
namespace {

// Methods are short; a longer one is cut for the log.
constexpr std::size_t kMethodShownMax = 40;

std::string printable(std::string_view text) {
  std::string shown(text.substr(0, kMethodShownMax));
  std::replace_if(shown.begin(), shown.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return shown;
}

std::string_view status_of(Refusal why) {
  switch (why) {
    case Refusal::kBadRequest: return "400";
    case Refusal::kUnauthorized: return "401";
    case Refusal::kUnavailable: return "503";
  }
  return "503";
}

// Empty for a plain CONNECT. The extended one (RFC 8441) asks for another protocol.
std::string why_no_tunnel(const http2::Headers& request) {
  const auto* method = http2::find(request, ":method");
  if (!method || *method != "CONNECT") return "expected method CONNECT, got " + printable(method ? *method : "");
  return http2::find(request, ":protocol") ? "expected method CONNECT, got CONNECT for another protocol" : "";
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

Task<void> serve(Loop& loop, http2::Settings settings, io::StreamPtr transport, TunnelHandler handler, StopToken drain,
                 StopToken stop, OnNoTunnel on_no_tunnel, OnEnd on_end) {
  auto connection = http2::Connection::create(loop, http2::Role::kServer, settings, std::move(transport));
  Scope tunnels(loop, stop);
  connection->on_request([&tunnels, &handler, &on_no_tunnel](http2::StreamPtr stream) {
    const std::string problem = why_no_tunnel(stream->request());
    IncomingTunnel tunnel(std::move(stream));
    if (!problem.empty()) {
      if (on_no_tunnel) on_no_tunnel(problem);
      tunnel.refuse(Refusal::kBadRequest);
      return;
    }
    tunnels.spawn(handler(std::move(tunnel), tunnels.token()));
  });
  StopCallback on_drain(drain, [&connection] { connection->shutdown(); });
  Served served;
  served.outcome = co_await connection->run(stop);
  served.breach = connection->breach();
  // No connection, no request: those already posted are dropped.
  connection->on_request({});
  if (on_end) on_end(served);
  co_await tunnels.join();
}

}  // namespace weft::hbone
