#include "lib/zds/client.h"

#include <algorithm>

#include "lib/base/log.h"

namespace weft::zds {
namespace {

constexpr const char* kTarget = "inpod";

struct Incoming {
  Request request;
  Fd netns;  // of an Add
};

// One request as it has to arrive: an Add with one descriptor, anything else with none.
Result<Incoming> read(io::Packet packet) {
  WEFT_TRY(auto request, decode_request(packet.data));
  const std::size_t wanted = std::holds_alternative<Add>(request) ? 1 : 0;
  if (packet.descriptors.size() != wanted) {
    return fail(ErrorCode::kProtocol,
                fmt::format("{} descriptors came with a message that has {}", packet.descriptors.size(), wanted));
  }
  return Incoming{std::move(request), wanted ? std::move(packet.descriptors.front()) : Fd()};
}

// `wait` changed by up to a fifth, so that proxies of many nodes do not move in step.
Duration spread(Duration wait, Random& random) {
  const auto fifth = wait.count() / 5;
  return Duration(wait.count() - fifth + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(2 * fifth + 1))));
}

}  // namespace

Client::Client(Loop& loop, io::PacketNetwork& network, PodEvents& events, std::string path)
    : loop_(loop), network_(network), events_(events), path_(std::move(path)) {}

Task<Result<void>> Client::run(StopToken stop) {
  Duration wait = kSessionRetryMin;
  while (!stop.stop_requested()) {
    auto socket = co_await connect(stop);
    if (!socket) break;
    connected_ = true;
    snapshot_done_ = false;
    named_.clear();
    events_.connected();
    auto served = co_await serve(*socket, stop);
    connected_ = false;
    socket->close();
    if (!served) co_return served;
    events_.disconnected();
    if (stop.stop_requested()) break;
    if (snapshot_done_) {
      wait = kSessionRetryMin;
      continue;
    }
    auto slept = co_await sleep_for(loop_, spread(wait, loop_.random()), stop);
    (void)slept;
    wait = std::min(wait * 2, kRetryMax);
  }
  co_return Result<void>{};
}

Task<io::PacketSocketPtr> Client::connect(StopToken stop) {
  Duration wait = kConnectRetryMin;
  for (;;) {
    auto socket = co_await network_.connect(path_, stop);
    if (socket) {
      WEFT_LOG(kInfo, kTarget, "connected to the node agent", {"path", path_});
      co_return std::move(*socket);
    }
    if (stop.stop_requested()) co_return nullptr;
    WEFT_LOG(kWarn, kTarget, "failed to connect to the node agent", {"path", path_}, {"error", socket.error().message()});
    auto slept = co_await sleep_for(loop_, wait, stop);
    if (!slept) co_return nullptr;
    wait = std::min(wait * 2, kRetryMax);
  }
}

Task<Result<void>> Client::serve(io::PacketSocket& socket, StopToken stop) {
  auto hello = encode(Hello{});
  auto greeted = co_await socket.send(std::move(hello), {}, stop);
  if (!greeted) {
    WEFT_LOG(kWarn, kTarget, "failed to greet the node agent", {"error", greeted.error().message()});
    co_return Result<void>{};
  }
  while (!stop.stop_requested()) {
    auto packet = co_await socket.receive(kMessageMax, stop);
    if (!packet && packet.error().code() != ErrorCode::kProtocol) {
      if (!stop.stop_requested()) {
        WEFT_LOG(kInfo, kTarget, "lost the node agent", {"error", packet.error().message()});
      }
      break;
    }
    Result<Incoming> incoming = packet ? read(std::move(*packet)) : fail(std::move(packet).error());
    if (!incoming) {
      WEFT_LOG(kWarn, kTarget, "cannot read a message of the node agent", {"error", incoming.error().message()});
      auto ack = encode(Ack{"failure to read message : " + incoming.error().message()});
      auto sent = co_await socket.send(std::move(ack), {}, stop);
      (void)sent;
      break;
    }
    auto handled = co_await handle(std::move(incoming->request), std::move(incoming->netns), stop);
    auto ack = encode(Ack{handled ? *handled : "failure to process message : " + handled.error().message()});
    auto sent = co_await socket.send(std::move(ack), {}, stop);
    if (!handled) {
      WEFT_LOG(kError, kTarget, "the node agent broke the protocol", {"error", handled.error().message()});
      co_return fail(std::move(handled).error());
    }
    if (!sent) break;
  }
  co_return Result<void>{};
}

Task<Result<std::string>> Client::handle(Request request, Fd netns, StopToken stop) {
  if (auto* wanted = std::get_if<Add>(&request)) {
    auto added = co_await add(std::move(*wanted), std::move(netns), stop);
    co_return std::move(added);
  }
  if (auto* kept = std::get_if<Keep>(&request)) {
    if (snapshot_done_) co_return fail(ErrorCode::kProtocol, "pod " + kept->uid + " kept after the snapshot");
    if (named_.size() >= kPodsMax) co_return fail(ErrorCode::kProtocol, "too many pods");
    named_.insert(std::move(kept->uid));
    co_return std::string();
  }
  if (auto* gone = std::get_if<Del>(&request)) {
    if (snapshot_done_) {
      co_await events_.remove(std::move(gone->uid));
    } else {
      named_.erase(gone->uid);
      events_.forget(std::move(gone->uid));
    }
    co_return std::string();
  }
  if (snapshot_done_) co_return fail(ErrorCode::kProtocol, "a second end of the snapshot");
  snapshot_done_ = true;
  co_await events_.snapshot_done(std::exchange(named_, {}));
  co_return std::string();
}

Task<Result<std::string>> Client::add(Add request, Fd netns, StopToken stop) {
  if (!request.has_info) co_return fail(ErrorCode::kProtocol, "pod " + request.pod.uid + " added without workload_info");
  if (!snapshot_done_) {
    if (named_.size() >= kPodsMax) co_return fail(ErrorCode::kProtocol, "too many pods");
    named_.insert(request.pod.uid);
  }
  auto started = co_await events_.add(std::move(request.pod), std::move(netns), stop);
  co_return started ? std::string() : "failure to start proxy : " + started.error().message();
}

}  // namespace weft::zds
