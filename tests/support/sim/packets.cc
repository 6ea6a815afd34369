#include "tests/support/sim/packets.h"

#include <algorithm>
#include <deque>

#include "lib/async/event.h"

namespace weft::sim {
namespace detail {

// One end; the other holds it weakly, so that each goes with its socket.
struct PacketEnd {
  PacketEnd(World& owner, Loop& its_loop) : world(owner), loop(its_loop), readable(its_loop) {}
  World& world;
  Loop& loop;
  std::weak_ptr<PacketEnd> peer;
  std::deque<io::Packet> arrived;
  MonotonicTime last_arrival{};
  bool ended = false;   // the peer closed
  bool closed = false;  // we did
  Event readable;

  // In order, after a delay.
  void deliver(std::function<void(PacketEnd&)> arrival) {
    last_arrival = std::max(last_arrival, world.clock().monotonic() + Duration(1000 + world.random().below(50'000)));
    world.at(last_arrival, [to = peer, arrival = std::move(arrival)] {
      if (auto end = to.lock()) arrival(*end);
    });
  }

  void close() {
    if (std::exchange(closed, true)) return;
    readable.set();
    deliver([](PacketEnd& to) {
      to.ended = true;
      to.readable.set();
    });
  }
};

class SimPacketSocket final : public io::PacketSocket {
 public:
  SimPacketSocket(std::shared_ptr<PacketEnd> end, std::shared_ptr<SocketFiles> files)
      : end_(std::move(end)), files_(std::move(files)) {
    ++files_->open;
  }
  ~SimPacketSocket() override {
    close();
    --files_->open;
  }

  Task<Result<io::Packet>> receive(std::size_t size_max, StopToken stop) override {
    auto end = end_;
    auto ready = co_await end->readable.wait(stop);
    if (end->closed || stop.stop_requested() || !ready) co_return fail(ErrorCode::kCancelled, "connection closed by us");
    if (end->arrived.empty()) co_return fail(ErrorCode::kClosed, "connection closed by peer");
    io::Packet packet = std::move(end->arrived.front());
    end->arrived.pop_front();
    if (end->arrived.empty() && !end->ended) end->readable.reset();
    if (packet.data.size() > size_max) co_return fail(ErrorCode::kProtocol, "packet too long");
    co_return std::move(packet);
  }

  Task<Result<void>> send(std::string data, std::optional<int> descriptor, StopToken stop) override {
    if (end_->closed || stop.stop_requested()) co_return fail(ErrorCode::kCancelled, "connection closed by us");
    if (end_->ended || end_->peer.expired()) co_return fail(ErrorCode::kClosed, "send a packet: broken pipe");
    auto packet = std::make_shared<io::Packet>();
    packet->data = std::move(data);
    if (descriptor) {
      Fd borrowed(*descriptor);
      packet->descriptors.push_back(borrowed.duplicate());
      (void)borrowed.release();
    }
    end_->deliver([packet](PacketEnd& to) {
      to.arrived.push_back(std::move(*packet));
      to.readable.set();
    });
    co_return Result<void>{};
  }

  void close() override { end_->close(); }

 private:
  std::shared_ptr<PacketEnd> end_;
  std::shared_ptr<SocketFiles> files_;
};

class SimPacketListener final : public io::PacketListener {
 public:
  SimPacketListener(Loop& loop, std::shared_ptr<SocketFiles> files, std::string path)
      : loop_(loop), files_(std::move(files)), path_(std::move(path)), ready_(loop) {
    files_->listeners[path_] = this;
    files_->left_behind.erase(path_);
    ++files_->open;
  }
  ~SimPacketListener() override {
    close();
    --files_->open;
  }

  Task<Result<io::PacketSocketPtr>> accept(StopToken stop) override {
    auto ready = co_await ready_.wait(stop);
    if (closed_ || stop.stop_requested() || !ready) co_return fail(ErrorCode::kCancelled, "listener closed");
    auto socket = std::move(queue_.front());
    queue_.pop_front();
    if (queue_.empty()) ready_.reset();
    co_return std::move(socket);
  }

  void close() override {
    if (std::exchange(closed_, true)) return;
    const auto found = files_->listeners.find(path_);
    if (found != files_->listeners.end() && found->second == this) files_->listeners.erase(found);
    queue_.clear();
    ready_.set();
  }

  Loop& loop() { return loop_; }
  void deliver(io::PacketSocketPtr socket) {
    queue_.push_back(std::move(socket));
    ready_.set();
  }

 private:
  Loop& loop_;
  std::shared_ptr<SocketFiles> files_;
  std::string path_;
  Event ready_;
  std::deque<io::PacketSocketPtr> queue_;
  bool closed_ = false;
};

}  // namespace detail

Task<Result<io::PacketSocketPtr>> SimPackets::connect(std::string path, StopToken stop) {
  if (stop.stop_requested()) co_return fail(ErrorCode::kCancelled, "connect " + path + ": cancelled");
  const auto found = files_->listeners.find(path);
  if (killed(loop_)) co_return fail(ErrorCode::kCancelled, "connect " + path + ": the process was killed");
  if (found == files_->listeners.end()) {
    if (files_->left_behind.contains(path)) co_return fail(ErrorCode::kRefused, "connect " + path + ": connection refused");
    co_return fail(ErrorCode::kNotFound, "connect " + path + ": no such file");
  }
  auto client = std::make_shared<detail::PacketEnd>(world_, loop_);
  auto server = std::make_shared<detail::PacketEnd>(world_, found->second->loop());
  client->peer = server;
  server->peer = client;
  std::erase_if(files_->ends, [](const auto& weak) { return weak.expired(); });
  files_->ends.push_back(client);
  files_->ends.push_back(server);
  found->second->deliver(std::make_unique<detail::SimPacketSocket>(std::move(server), files_));
  co_return std::make_unique<detail::SimPacketSocket>(std::move(client), files_);
}

void SocketFiles::end_sockets_of(const std::vector<SimLoop*>& loops) {
  const auto theirs = [&](const Loop& loop) { return std::find(loops.begin(), loops.end(), &loop) != loops.end(); };
  const auto all = listeners;
  for (const auto& [path, listener] : all) {
    if (!theirs(listener->loop())) continue;
    left_behind.insert(path);
    listener->close();
  }
  for (auto& weak : ends) {
    auto end = weak.lock();
    if (end && theirs(end->loop)) end->close();
  }
}

Result<io::PacketListenerPtr> SimPackets::listen(const std::string& path, unsigned) {
  if (killed(loop_)) return fail(ErrorCode::kCancelled, "listen " + path + ": the process was killed");
  return std::make_unique<detail::SimPacketListener>(loop_, files_, path);
}

}  // namespace weft::sim
