#include "tests/sim/traffic.h"

#include <algorithm>

#include "lib/base/log.h"

namespace weft::simulation {
namespace {

// An application that hears nothing when it connects gives up.
constexpr Duration kConnectPatience = std::chrono::seconds(30);
constexpr std::size_t kPieceMax = 16 * 1024;

}  // namespace

Traffic::Traffic(sim::World& world, sim::Internet& internet, Watch& watch,
                 std::function<std::size_t(const IpAddress&)> pod_of)
    : world_(world),
      internet_(internet),
      watch_(watch),
      pod_of_(std::move(pod_of)),
      loop_(world.make_loop("applications")),
      clients_(loop_) {}

void Traffic::serve(std::size_t pod, sim::Host& host) {
  auto server = std::make_unique<Server>(loop_);
  server->network = internet_.networks(host, loop_)->own();
  for (const std::uint16_t port : {kClientFirstPort, kServerFirstPort}) {
    auto listener = server->network->listen(SocketAddress(IpAddress::any(false), port), {});
    // An application tries again when it may not open a socket.
    while (!listener) listener = server->network->listen(SocketAddress(IpAddress::any(false), port), {});
    server->listeners.push_back(std::move(*listener));
    server->scope.spawn(accept_all(*server->listeners.back(), *server, pod, port));
  }
  servers_[pod] = std::move(server);
}

Task<void> Traffic::end(std::size_t pod) {
  const auto found = servers_.find(pod);
  if (found == servers_.end()) co_return;
  auto server = std::move(found->second);
  servers_.erase(found);
  for (auto& listener : server->listeners) listener->close();
  server->scope.request_stop();
  co_await server->scope.join();
}

Task<void> Traffic::stop() {
  co_await clients_.join();
  while (!servers_.empty()) {
    const auto pod = servers_.begin()->first;
    co_await end(pod);
  }
}

Task<void> Traffic::accept_all(io::Listener& listener, Server& server, std::size_t pod, std::uint16_t port) {
  for (;;) {
    auto accepted = co_await listener.accept(server.scope.token());
    if (!accepted) co_return;
    server.scope.spawn(answer(std::move(*accepted), pod, port, server.scope.token()));
  }
}

Task<void> Traffic::send(io::Stream& stream, Tag tag, std::uint64_t size, Duration pause, bool& ok) {
  ok = false;
  for (std::uint64_t done = 0; done < size;) {
    const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(size - done, 1 + world_.random().below(kPieceMax)));
    watch_.sending(tag).sent += piece;
    BufferChain data(Buffer::copy_of(content(tag, done, piece)));
    auto written = co_await stream.write(std::move(data));
    if (!written) {
      stream.abort(io::AbortReason::kReset);  // nobody shall wait for the rest
      co_return;
    }
    done += piece;
    if (pause == Duration{} || done >= size) continue;
    auto slept = co_await sleep_for(loop_, pause, {});
    (void)slept;
  }
  watch_.sending(tag).finished = true;
  auto finished = co_await stream.shutdown_write();
  ok = finished.has_value();
}

Task<void> Traffic::receive(io::Stream& stream, Receiver& receiver, bool& ok, std::string& error) {
  ok = false;
  for (;;) {
    auto data = co_await stream.read(kPieceMax);
    if (!data) {
      error = data.error().message();
      co_return;
    }
    if (data->empty()) break;
    receiver.take(*data);
  }
  receiver.end();
  ok = true;
}

Task<void> Traffic::answer(io::Accepted accepted, std::size_t pod, std::uint16_t port, StopToken stop) {
  io::Stream& stream = *accepted.stream;
  StopCallback on_stop(stop, [&stream] { stream.abort(io::AbortReason::kReset); });
  const std::size_t caller = pod_of_(accepted.peer.ip());
  watch_.accepted(accepted.peer, caller, pod, port);
  const Tag tag = watch_.next_server_tag();
  Receiver receiver(watch_);
  Scope writing(loop_);
  bool sent = false;
  Duration pause{};
  if (port == kServerFirstPort) {
    // A greeting; what the client wants besides is not known yet.
    BufferChain greeting(Buffer::copy_of(content(tag, 0, 3 * kBlock)));
    watch_.sending(tag).sent += greeting.size();
    auto written = co_await stream.write(std::move(greeting));
    if (!written) co_return stream.abort(io::AbortReason::kReset);  // a part of it may be on its way
  }
  bool matched = false;
  bool ended = false;
  for (;;) {
    auto data = co_await stream.read(kPieceMax);
    if (!data) break;
    if (data->empty()) {
      ended = true;
      break;
    }
    receiver.take(*data);
    Flow* flow = watch_.flow(receiver.tag());
    if (!flow) continue;
    if (!matched) watch_.match(tag, flow->tag);
    if (flow->server != pod) watch_.fail(fmt::format("flow {} arrives at pod {}, not {}", flow->tag, pod, flow->server));
    watch_.delivered(*flow, caller);
    if (!matched && port == kClientFirstPort && flow->duplex)
      writing.spawn(send(stream, tag, flow->download, flow->pause, sent));
    matched = true;
  }
  if (ended) {
    receiver.end();
    const Flow* flow = watch_.flow(receiver.tag());
    if (port == kServerFirstPort) {
      watch_.sending(tag).finished = true;
      auto finished = co_await stream.shutdown_write();
      (void)finished;
    } else if (flow && !flow->duplex) {
      co_await send(stream, tag, flow->download, pause, sent);
    }
  }
  co_await writing.join();
}

Task<void> Traffic::call(sim::Host& host, SocketAddress server, Call plan, CallOutcome& outcome) {
  Flow& flow = watch_.begin(plan.client, plan.server, server.port(), host.redirected());
  const Tag tag = flow.tag;
  outcome.tag = tag;
  flow.upload = plan.upload;
  flow.download = plan.download;
  flow.duplex = plan.style == Style::kDuplex;
  flow.pause = plan.pause;
  const auto network = internet_.networks(host, loop_)->own();
  io::StreamPtr stream;
  {
    Deadline patience(loop_, kConnectPatience, {});
    io::ConnectOptions options;
    auto connected = co_await network->connect(server, options, patience.token());
    if (!connected) {
      outcome.error = connected.error().message();
      world_.note(1);
      co_return;
    }
    stream = std::move(*connected);
  }
  outcome.connected = true;
  Receiver receiver(watch_);
  bool sent = false, received = false;
  if (plan.style == Style::kServerFirst) {
    auto greeting = co_await stream->read(kPieceMax);
    if (!greeting || greeting->empty()) {
      outcome.error = greeting ? "ended before the greeting" : greeting.error().message();
      co_return;
    }
    receiver.take(*greeting);
  }
  if (plan.style == Style::kReset || plan.style == Style::kAbandon) {
    const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(plan.upload, 100'000));
    watch_.sending(tag).sent += piece;
    BufferChain data(Buffer::copy_of(content(tag, 0, piece)));
    auto written = co_await stream->write(std::move(data));
    if (!written) co_return stream->abort(io::AbortReason::kReset);  // as in send()
    auto slept = co_await sleep_for(loop_, plan.pause, {});
    (void)slept;
    if (plan.style == Style::kReset) {
      stream->abort(io::AbortReason::kReset);
    } else {
      watch_.sending(tag).finished = true;  // the kernel does, when nothing is unread
    }
    co_return;
  }
  Scope writing(loop_);
  if (plan.style == Style::kDuplex) {
    writing.spawn(send(*stream, tag, plan.upload, plan.pause, sent));
  } else {
    co_await send(*stream, tag, plan.upload, plan.pause, sent);
  }
  co_await receive(*stream, receiver, received, outcome.error);
  co_await writing.join();
  outcome.complete = sent && received && (plan.style == Style::kServerFirst || receiver.received() == plan.download);
  world_.note(outcome.complete ? 2 : 3);
  world_.note(receiver.received());
}

}  // namespace weft::simulation
