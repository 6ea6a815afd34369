#include "tests/support/sim/detail/endpoint.h"

#include <algorithm>

namespace weft::sim::detail {
namespace {

class SimStream final : public io::Stream {
 public:
  explicit SimStream(std::shared_ptr<Endpoint> endpoint) : endpoint_(std::move(endpoint)) {
    ++endpoint_->internet.open_sockets_;
  }
  ~SimStream() override {
    --endpoint_->internet.open_sockets_;
    endpoint_->close(!endpoint_->received.empty());
  }

  Task<Result<BufferChain>> read(std::size_t max) override {
    Endpoint& end = *endpoint_;
    auto ready = co_await end.readable.wait();
    (void)ready;
    if (end.aborted) co_return fail(ErrorCode::kCancelled, "connection aborted");
    if (!end.received.empty()) {
      auto size = std::min(std::max<std::size_t>(max, 1), end.received.size());
      if (end.internet.chance(end.internet.faults().short_read)) size = 1 + end.internet.world().random().below(size);
      auto data = end.received.split(size);
      if (end.received.empty() && !end.fin_received && !end.reset) end.readable.reset();
      end.taken(data.size());
      co_return std::move(data);
    }
    if (end.reset) co_return fail(ErrorCode::kReset, "read: connection reset by peer");
    co_return BufferChain();
  }

  Task<Result<void>> write(BufferChain data) override {
    Endpoint& end = *endpoint_;
    while (!data.empty()) {
      auto room = co_await end.writable.wait();
      (void)room;
      if (end.aborted) co_return fail(ErrorCode::kCancelled, "connection aborted");
      if (end.reset) co_return fail(ErrorCode::kReset, "write: connection reset by peer");
      if (end.fin_sent) co_return fail(ErrorCode::kInternal, "write after shutdown_write");
      if (end.internet.chance(end.internet.faults().no_buffers))
        co_return fail(ErrorCode::kLimit, "write: No buffer space available");
      auto size = std::min(data.size(), kSocketBuffer - std::min(kSocketBuffer, end.ahead));
      if (end.internet.chance(end.internet.faults().short_write)) size = 1 + end.internet.world().random().below(size);
      end.send(data.split(size));
    }
    co_return Result<void>{};
  }

  Task<Result<void>> shutdown_write() override {
    Endpoint& end = *endpoint_;
    if (end.aborted) co_return fail(ErrorCode::kCancelled, "connection aborted");
    if (end.reset) co_return fail(ErrorCode::kReset, "shutdown: connection reset by peer");
    end.send_fin();
    co_return Result<void>{};
  }

  io::Backlog backlog() override { return {.waiting = endpoint_->ahead >= kSocketBuffer, .moved = endpoint_->read_by_peer}; }

  void abort(io::AbortReason reason) override {
    Endpoint& end = *endpoint_;
    if (end.aborted) return;
    end.aborted = true;
    if (reason == io::AbortReason::kReset) {
      end.send_rst();
    } else {
      end.send_fin();
    }
    end.readable.set();
    end.writable.set();
  }

 private:
  std::shared_ptr<Endpoint> endpoint_;
};

}  // namespace

void Endpoint::transmit(std::function<void(Endpoint&)> arrival) {
  if (!peer) return;
  auto& world = internet.world();
  auto delay = internet.latency();
  if (internet.chance(internet.faults().delay)) delay *= static_cast<int>(1 + world.random().below(200));
  last_arrival = std::max(last_arrival, world.clock().monotonic() + delay);
  world.at(last_arrival, [to = peer, arrival = std::move(arrival)] { arrival(*to); });
}

void Endpoint::tell(const BufferChain& data) const {
  if (!internet.tap_ || !peer) return;
  const Wire wire{.connection = connection,
                  .from = host,
                  .to = peer->host,
                  .client = dialled_by,
                  .destination = dialled,
                  .port = port,
                  .toward_server = client};
  internet.tap_(wire, data);
}

void Endpoint::send(BufferChain data) {
  tell(data);
  ahead += data.size();
  if (ahead >= kSocketBuffer) writable.reset();
  if (internet.chance(internet.faults().reset)) {
    receive_rst();
    transmit([](Endpoint& to) { to.receive_rst(); });
    return;
  }
  transmit([shared = std::make_shared<BufferChain>(std::move(data))](Endpoint& to) { to.receive(std::move(*shared)); });
}

void Endpoint::send_fin() {
  if (std::exchange(fin_sent, true) || reset) return;
  transmit([](Endpoint& to) { to.receive_fin(); });
}

void Endpoint::send_rst() {
  if (reset) return;
  reset = true;
  transmit([](Endpoint& to) { to.receive_rst(); });
}

void Endpoint::receive(BufferChain data) {
  if (reset) return;
  if (closed || aborted) {
    send_rst();
    return;
  }
  received.append(std::move(data));
  readable.set();
}

void Endpoint::receive_fin() {
  fin_received = true;
  readable.set();
}

void Endpoint::receive_rst() {
  reset = true;
  readable.set();
  writable.set();
}

void Endpoint::taken(std::size_t count) {
  if (!peer) return;
  peer->ahead -= std::min(count, peer->ahead);
  peer->read_by_peer += count;
  if (peer->ahead < kSocketBuffer) peer->writable.set();
}

void Endpoint::close(bool with_reset) {
  closed = true;
  received.clear();
  if (with_reset) {
    send_rst();
  } else {
    send_fin();
  }
  if (peer && peer->closed) {
    peer->peer.reset();
    peer.reset();
  }
}

void Endpoint::process_ended() {
  if (closed || aborted) return;
  aborted = true;
  if (!received.empty() || !peer) {
    send_rst();
  } else {
    send_fin();
  }
  received.clear();
  readable.set();
  writable.set();
}

io::StreamPtr make_stream(std::shared_ptr<Endpoint> endpoint) { return std::make_unique<SimStream>(std::move(endpoint)); }

}  // namespace weft::sim::detail
