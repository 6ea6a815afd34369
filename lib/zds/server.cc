#include "lib/zds/server.h"

#include <algorithm>

#include "lib/base/log.h"
#include "lib/base/scope_exit.h"

namespace weft::zds {
namespace {

constexpr const char* kTarget = "zds";
constexpr unsigned kSocketMode = 0600;

}  // namespace

// One request of a caller on its way to one proxy. Shared: the caller may give up first.
struct Server::Change {
  Change(Loop& loop, std::string message, NetnsPtr netns)
      : message(std::move(message)), netns(std::move(netns)), done(loop) {}
  const std::string message;
  const NetnsPtr netns;
  Result<std::string> outcome = fail(ErrorCode::kClosed, "the connection to ztunnel ended");
  Event done;

  void finish(Result<std::string> result) {
    outcome = std::move(result);
    done.set();
  }
};

struct Server::Link {
  Link(Loop& loop, LinkId id, io::PacketSocketPtr socket, const StopToken& stop)
      : id(id), socket(std::move(socket)), scope(loop, stop), wake(loop), answer_came(loop) {}
  const LinkId id;
  const io::PacketSocketPtr socket;
  Scope scope;  // the reader; its token ends everything of this link
  std::deque<ChangePtr> changes;
  Event wake;  // changes has some
  bool asking = false;
  std::optional<Result<std::string>> answer;  // of the request under way
  Event answer_came;
  std::string end_reason;

  void end(std::string reason) {
    if (end_reason.empty()) end_reason = std::move(reason);
    scope.request_stop();
  }
};

Server::Server(Loop& loop, io::PacketNetwork& network, Owner& owner) : loop_(loop), network_(network), owner_(owner) {}
Server::~Server() = default;

Result<void> Server::listen(const std::string& path) {
  WEFT_TRY(listener_, network_.listen(path, kSocketMode));
  return {};
}

Task<void> Server::run(StopToken stop) {
  Scope scope(loop_, stop);
  while (!stop.stop_requested()) {
    auto socket = co_await listener_->accept(stop);
    if (!socket) {
      if (stop.stop_requested()) break;
      WEFT_LOG(kError, kTarget, "cannot accept a ztunnel", {"error", socket.error().message()});
    } else if (links_.size() + greeting_ >= kLinksMax) {
      WEFT_LOG(kWarn, kTarget, "too many ztunnels, one turned away", {"connected", fmt::to_string(links_.size())});
      (*socket)->close();
    } else {
      scope.spawn(serve(std::move(*socket), scope.token()));
    }
    auto slept = co_await sleep_for(loop_, kAcceptPause, stop);
    (void)slept;
  }
  listener_->close();
  co_await scope.join();
}

LinkId Server::newest() const { return links_.empty() ? 0 : links_.back()->id; }

Task<void> Server::serve(io::PacketSocketPtr socket, StopToken stop) {
  ++greeting_;
  auto greeted = co_await greet(*socket, stop);
  --greeting_;
  if (!greeted) {
    socket->close();
    if (!stop.stop_requested()) WEFT_LOG(kWarn, kTarget, "no ztunnel", {"error", greeted.error().message()});
    co_return;
  }
  auto link = std::make_shared<Link>(loop_, ++last_id_, std::move(socket), stop);
  const auto number = fmt::to_string(link->id);
  WEFT_LOG(kInfo, kTarget, "ztunnel connected", {"link", number});
  auto pods = owner_.snapshot(link->id);
  links_.push_back(link);
  owner_.links_changed(newest(), links_.size());
  link->scope.spawn(listen_to(link));

  auto served = co_await replay(link, std::move(pods));
  if (served) served = co_await pass_changes(link);
  link->end(served ? std::string() : served.error().message());

  links_.remove(link);
  link->socket->close();
  for (auto& change : std::exchange(link->changes, {})) {
    change->finish(fail(ErrorCode::kClosed, "the connection to ztunnel ended: " + link->end_reason));
  }
  co_await link->scope.join();
  WEFT_LOG(kInfo, kTarget, "ztunnel disconnected", {"link", number}, {"reason", link->end_reason});
  owner_.links_changed(newest(), links_.size());
}

Task<Result<void>> Server::greet(io::PacketSocket& socket, StopToken stop) {
  Deadline deadline(loop_, kAnswerLimit, stop);
  auto packet = co_await socket.receive(kMessageMax, deadline.token());
  if (!packet) co_return fail(deadline.explain(std::move(packet).error(), "hello"));
  if (!packet->descriptors.empty()) co_return fail(ErrorCode::kProtocol, "descriptors came with the hello");
  auto hello = decode_hello(packet->data);
  if (!hello) co_return fail(std::move(hello).error());
  // Upstream looks at the version no closer either; there has been one so far.
  WEFT_LOG(kDebug, kTarget, "hello", {"version", fmt::to_string(hello->version)});
  co_return Result<void>{};
}

Task<Result<void>> Server::replay(LinkPtr link, std::vector<SnapshotPod> pods) {
  for (const auto& item : pods) {
    auto message = item.netns ? encode(Add{item.pod}) : encode(Keep{item.pod.uid});
    if (!message) {
      WEFT_LOG(kWarn, kTarget, "a pod cannot be handed over", {"uid", item.pod.uid}, {"error", message.error().message()});
      owner_.answered(link->id, item.pod.uid, fail(std::move(message).error()));
      continue;
    }
    auto reply = co_await ask(link, std::move(*message), item.netns);
    if (!reply) co_return fail(std::move(reply).error());
    if (!reply->empty()) {
      WEFT_LOG(kWarn, kTarget, "ztunnel refused a pod", {"uid", item.pod.uid}, {"error", *reply});
    }
    if (item.netns) {
      owner_.answered(link->id, item.pod.uid, reply->empty() ? Result<void>{} : fail(ErrorCode::kRefused, *reply));
    }
  }
  auto message = encode(SnapshotSent{});
  auto reply = co_await ask(link, std::move(*message), nullptr);
  if (!reply) co_return fail(std::move(reply).error());
  WEFT_LOG(kInfo, kTarget, "snapshot sent", {"link", fmt::to_string(link->id)}, {"pods", fmt::to_string(pods.size())});
  co_return Result<void>{};
}

Task<Result<void>> Server::pass_changes(LinkPtr link) {
  for (;;) {
    auto woken = co_await link->wake.wait(link->scope.token());
    if (!woken) co_return fail(ErrorCode::kClosed, "closed");
    auto change = std::move(link->changes.front());
    link->changes.pop_front();
    if (link->changes.empty()) link->wake.reset();
    auto reply = co_await ask(link, change->message, change->netns);
    const bool alive = reply.has_value();
    Error error(ErrorCode::kClosed, alive ? "" : reply.error().message());
    change->finish(std::move(reply));
    if (!alive) co_return fail(std::move(error));
  }
}

Task<Result<std::string>> Server::ask(LinkPtr link, std::string message, NetnsPtr netns) {
  link->asking = true;
  link->answer.reset();
  link->answer_came.reset();
  const ScopeExit asked([&link] { link->asking = false; });
  {
    Deadline deadline(loop_, kAnswerLimit, link->scope.token());
    const auto descriptor = netns ? std::optional(netns->get()) : std::nullopt;
    auto sent = co_await link->socket->send(std::move(message), descriptor, deadline.token());
    if (!sent) co_return fail(deadline.explain(std::move(sent).error(), "sending to ztunnel"));
  }
  Deadline deadline(loop_, kAnswerLimit, link->scope.token());
  auto came = co_await link->answer_came.wait(deadline.token());
  if (link->answer) co_return std::move(*link->answer);
  if (!came && !deadline.expired())
    co_return fail(ErrorCode::kClosed, "the connection to ztunnel ended: " + link->end_reason);
  co_return fail(ErrorCode::kTimeout, "ztunnel did not answer in time");
}

Task<void> Server::listen_to(LinkPtr link) {
  for (;;) {
    auto packet = co_await link->socket->receive(kMessageMax, link->scope.token());
    if (!packet) {
      link->end(packet.error().message());
      co_return;
    }
    auto ack = decode_ack(packet->data);
    if (!packet->descriptors.empty()) ack = fail(ErrorCode::kProtocol, "descriptors came with an answer");
    if (ack && (!link->asking || link->answer)) ack = fail(ErrorCode::kProtocol, "an answer that nothing was asked for");
    if (!ack) {
      WEFT_LOG(kWarn, kTarget, "ztunnel broke the protocol", {"error", ack.error().message()});
      link->end(ack.error().message());
      co_return;
    }
    link->answer = std::move(ack->error);
    link->answer_came.set();
  }
}

Result<Server::ChangePtr> Server::enqueue(Link& link, std::string message, NetnsPtr netns) {
  if (link.changes.size() >= kQueueMax) return fail(ErrorCode::kLimit, "too many changes wait for ztunnel");
  auto change = std::make_shared<Change>(loop_, std::move(message), std::move(netns));
  link.changes.push_back(change);
  link.wake.set();
  return change;
}

Task<Result<LinkId>> Server::add(Pod pod, NetnsPtr netns, StopToken stop) {
  auto message = encode(Add{std::move(pod)});
  if (!message) co_return fail(std::move(message).error());
  if (links_.empty()) co_return fail(ErrorCode::kUnavailable, "no ztunnel connection");
  const LinkId id = newest();
  auto change = enqueue(*links_.back(), std::move(*message), std::move(netns));
  if (!change) co_return fail(std::move(change).error());
  auto done = co_await (*change)->done.wait(stop);
  if (!done) co_return fail(std::move(done).error());
  if (!(*change)->outcome) co_return fail((*change)->outcome.error());
  if (!(*change)->outcome->empty()) co_return fail(ErrorCode::kRefused, "ztunnel: " + *(*change)->outcome);
  co_return id;
}

Task<Result<void>> Server::remove(std::string uid, StopToken stop) {
  auto message = encode(Del{std::move(uid)});
  if (!message) co_return Result<void>{};  // no proxy ever heard of it
  std::vector<ChangePtr> sent;
  std::string errors;
  for (const auto& link : links_) {
    auto change = enqueue(*link, *message, nullptr);
    if (change)
      sent.push_back(std::move(*change));
    else
      errors += (errors.empty() ? "" : "; ") + change.error().message();
  }
  for (const auto& change : sent) {
    auto done = co_await change->done.wait(stop);
    if (!done) co_return fail(std::move(done).error());
    if (change->outcome && !change->outcome->empty()) errors += (errors.empty() ? "" : "; ") + *change->outcome;
  }
  if (!errors.empty()) co_return fail(ErrorCode::kRefused, "ztunnel: " + errors);
  co_return Result<void>{};
}

}  // namespace weft::zds
