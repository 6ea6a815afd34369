#include "lib/grpc/listen.h"

#include "lib/base/log.h"
#include "lib/base/scope_exit.h"
#include "lib/tls/stream.h"

namespace weft::grpc {

ServerListener::ServerListener(Loop& loop, Server& server, ContextSource context, ListenerOptions options)
    : loop_(loop),
      server_(server),
      context_(std::move(context)),
      options_(options),
      handshakes_(loop, options.handshakes_max),
      scope_(loop) {}

Task<void> ServerListener::run(io::ListenerPtr listener, StopToken stop) {
  for (;;) {
    auto accepted = co_await listener->accept(stop);
    if (!accepted) break;
    const auto same = by_address_.find(accepted->peer.ip());
    const std::size_t from_address = same == by_address_.end() ? 0 : same->second;
    if (counters_.open >= options_.connections_max || from_address >= options_.connections_per_address_max) {
      ++counters_.refused;
      WEFT_LOG(kWarn, "grpc", "connection refused, too many",
               {"peer", accepted->peer.to_string(), log::FieldKind::kDisplay});
      continue;
    }
    ++counters_.accepted;
    scope_.spawn(serve(std::move(*accepted)));
  }
  listener->close();
  scope_.request_stop();
  co_await scope_.join();
}

Task<void> ServerListener::serve(io::Accepted accepted) {
  const IpAddress peer = accepted.peer.ip();
  ++counters_.open;
  ++by_address_[peer];
  ScopeExit leave([this, peer] {
    --counters_.open;
    if (--by_address_[peer] == 0) by_address_.erase(peer);
  });
  io::StreamPtr stream = std::move(accepted.stream);
  if (context_) {
    auto secured = co_await secure(std::move(stream), scope_.token());
    if (!secured) {
      ++counters_.handshakes_failed;
      WEFT_LOG(kDebug, "grpc", "handshake failed", {"peer", accepted.peer.to_string(), log::FieldKind::kDisplay},
               {"error", secured.error().message()});
      co_return;
    }
    stream = std::move(*secured);
  }
  auto ended = co_await server_.serve(std::move(stream), scope_.token(), options_.drain, accepted.peer.to_string());
  if (!ended && ended.error().code() != ErrorCode::kCancelled) {
    WEFT_LOG(kDebug, "grpc", "connection ended", {"peer", accepted.peer.to_string(), log::FieldKind::kDisplay},
             {"error", ended.error().message()});
  }
}

Task<Result<io::StreamPtr>> ServerListener::secure(io::StreamPtr below, StopToken stop) {
  Deadline deadline(loop_, options_.handshake_timeout, stop);
  auto permit = co_await handshakes_.acquire(deadline.token());
  if (!permit) co_return fail(deadline.explain(std::move(permit).error(), "waiting for the handshake"));
  auto context = context_();
  if (!context) co_return fail(ErrorCode::kUnavailable, "no serving certificate");
  auto stream =
      co_await tls::accept(std::move(below), std::move(context), {tls::AnyClient{}, loop_.clock().wall()}, deadline.token());
  if (!stream) co_return fail(deadline.explain(std::move(stream).error(), "tls handshake"));
  co_return std::move(*stream);
}

}  // namespace weft::grpc
