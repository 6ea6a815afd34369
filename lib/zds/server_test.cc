// The agent's side against the proxy's, and against proxies that misbehave, on simulated packet sockets.
#include "lib/zds/server.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstdio>

#include "lib/zds/client.h"
#include "tests/support/sim/packets.h"
#include "tests/support/sim/stop_everywhere.h"

using namespace weft;
using namespace weft::zds;
using namespace std::chrono_literals;

namespace {

using Lines = std::vector<std::string>;

NetnsPtr any_file(const char* path = "/dev/null") { return std::make_shared<const Fd>(::open(path, O_RDONLY | O_CLOEXEC)); }

ino_t inode(int fd) {
  struct stat info{};
  CHECK(::fstat(fd, &info) == 0);
  return info.st_ino;
}

struct Pods final : Owner {
  std::vector<SnapshotPod> snapshot(LinkId) override { return pods; }
  void answered(LinkId link, const std::string& uid, Result<void> outcome) override {
    log.push_back(uid + "@" + std::to_string(link) + (outcome ? " ok" : " " + outcome.error().message()));
  }
  void links_changed(LinkId newest, std::size_t count) override {
    log.push_back("newest " + std::to_string(newest) + " of " + std::to_string(count));
  }
  std::vector<SnapshotPod> pods;
  Lines log;
};

// A proxy of the real client.
struct Proxy final : PodEvents {
  void connected() override {}
  Task<Result<void>> add(Pod pod, Fd netns, StopToken) override {
    log.push_back("add " + pod.uid);
    last_inode = inode(netns.get());
    if (pod.uid == "bad") co_return fail(ErrorCode::kAddressInUse, "bind 15001");
    co_return Result<void>{};
  }
  Task<void> remove(std::string uid) override {
    log.push_back("remove " + uid);
    co_return;
  }
  void forget(std::string uid) override { log.push_back("forget " + uid); }
  Task<void> snapshot_done(std::set<std::string> named) override {
    log.push_back("snapshot of " + std::to_string(named.size()));
    ready = true;
    co_return;
  }
  void disconnected() override { ready = false; }
  Lines log;
  ino_t last_inode = 0;
  bool ready = false;
};

struct Fixture {
  sim::World world{11};
  Loop& loop = world.make_loop("agent");
  std::shared_ptr<sim::SocketFiles> files = std::make_shared<sim::SocketFiles>();
  sim::SimPackets network{world, loop, files};
  Pods pods;
  std::unique_ptr<Server> server = std::make_unique<Server>(loop, network, pods);
  Scope scope{loop};
  StopSource stop;

  Fixture() {
    REQUIRE(server->listen("/zds.sock"));
    scope.spawn(server->run(scope.token()));
  }
  ~Fixture() {
    scope.request_stop();
    world.run(scope.join());
    server.reset();
    CHECK(files->open == 0);
  }
  // Adds and removals, their outcome as a text.
  static Task<void> add_task(Fixture& self, std::string uid, std::string& out) {
    Pod pod{uid, "n", "ns", "sa"};
    auto netns = any_file();
    auto added = co_await self.server->add(std::move(pod), std::move(netns), {});
    out = added ? "by " + std::to_string(*added)
                : std::string(to_string(added.error().code())) + ": " + added.error().message();
  }
  std::string add(const std::string& uid) {
    std::string out;
    world.run(add_task(*this, uid, out));
    return out;
  }
  static Task<void> remove_task(Fixture& self, std::string uid, std::string& out) {
    auto removed = co_await self.server->remove(uid, {});
    out = removed ? "ok" : removed.error().message();
  }
  std::string remove(const std::string& uid) {
    std::string out;
    world.run(remove_task(*this, uid, out));
    return out;
  }
  bool until(const std::function<bool()>& done) { return world.run_until(done, 2'000'000); }
};

// A real client that runs until it is told to stop.
struct RunningClient {
  RunningClient(Fixture& f) : f(f), client(f.loop, f.network, proxy, "/zds.sock"), scope(f.loop) {
    scope.spawn(run(*this));
    REQUIRE(f.until([&] { return proxy.ready; }));
  }
  ~RunningClient() { leave(); }
  static Task<void> run(RunningClient& self) {
    auto ended = co_await self.client.run(self.scope.token());
    CHECK(ended);
  }
  void leave() {
    scope.request_stop();
    f.world.run(scope.join());
  }
  Fixture& f;
  Proxy proxy;
  Client client;
  Scope scope;
};

// A connection held by hand.
struct Hand {
  explicit Hand(Fixture& f) : f(f) { f.world.run(open(*this)); }
  static Task<void> open(Hand& self) {
    auto connected = co_await self.f.network.connect("/zds.sock", {});
    REQUIRE(connected);
    self.socket = std::move(*connected);
  }
  static Task<void> send_task(Hand& self, std::string data) {
    auto sent = co_await self.socket->send(std::move(data), {}, {});
    (void)sent;
  }
  void send(std::string data) { f.world.run(send_task(*this, std::move(data))); }
  static Task<void> receive_task(Hand& self, std::string& out) {
    auto packet = co_await self.socket->receive(kMessageMax, {});
    if (!packet) {
      out = packet.error().code() == ErrorCode::kClosed ? "end" : packet.error().message();
      co_return;
    }
    auto request = decode_request(packet->data);
    REQUIRE(request);
    if (auto* add = std::get_if<Add>(&*request)) out = "add " + add->pod.uid;
    if (auto* keep = std::get_if<Keep>(&*request)) out = "keep " + keep->uid;
    if (auto* del = std::get_if<Del>(&*request)) out = "del " + del->uid;
    if (std::holds_alternative<SnapshotSent>(*request)) out = "snapshot";
    CHECK(packet->descriptors.size() == (out.starts_with("add") ? 1 : 0));
  }
  std::string receive() {
    std::string out;
    f.world.run(receive_task(*this, out));
    return out;
  }
  Fixture& f;
  io::PacketSocketPtr socket;
};

}  // namespace

TEST_CASE("a proxy gets the snapshot, then additions and removals") {
  Fixture f;
  f.pods.pods = {{{"a", "n", "ns", "sa"}, any_file("/dev/zero")}, {{"k", "n", "ns", "sa"}, nullptr}};
  RunningClient client(f);
  CHECK(client.proxy.log == Lines{"add a", "snapshot of 2"});
  CHECK(client.proxy.last_inode == inode(any_file("/dev/zero")->get()));
  CHECK(f.pods.log == Lines{"newest 1 of 1", "a@1 ok"});
  CHECK(f.add("b") == "by 1");
  CHECK(f.remove("a") == "ok");
  CHECK(f.remove("never-heard-of") == "ok");
  CHECK(client.proxy.log == Lines{"add a", "snapshot of 2", "add b", "remove a", "remove never-heard-of"});
}

TEST_CASE("without a proxy pods cannot be added, and are removed at once") {
  Fixture f;
  CHECK(f.add("a") == "unavailable: no ztunnel connection");
  CHECK(f.remove("a") == "ok");
}

TEST_CASE("the proxy's refusal reaches the caller, in a snapshot the owner") {
  Fixture f;
  f.pods.pods = {{{"bad", "n", "ns", "sa"}, any_file()}, {{"good", "n", "ns", "sa"}, any_file()}};
  RunningClient client(f);
  CHECK(f.pods.log == Lines{"newest 1 of 1", "bad@1 failure to start proxy : bind 15001", "good@1 ok"});
  CHECK(f.add("bad") == "refused: ztunnel: failure to start proxy : bind 15001");
  CHECK(f.server->links() == 1);
}

TEST_CASE("a pod whose names are too long is refused without harm to the others") {
  Fixture f;
  const std::string name(2000, 'x');
  f.pods.pods = {{{"long", name, "ns", "sa"}, any_file()}, {{"a", "n", "ns", "sa"}, any_file()}};
  RunningClient client(f);
  CHECK(client.proxy.log == Lines{"add a", "snapshot of 1"});
  CHECK(f.add(name).starts_with("limit: "));
  CHECK(f.server->links() == 1);
}

TEST_CASE("a pod with a byte that is no UTF-8 is refused without harm to the others") {
  Fixture f;
  const std::string name("caf\xE9");
  f.pods.pods = {
      {{"u", name, "ns", "sa"}, any_file()}, {{name, "n", "ns", "sa"}, nullptr}, {{"a", "n", "ns", "sa"}, any_file()}};
  RunningClient client(f);
  CHECK(client.proxy.log == Lines{"add a", "snapshot of 1"});
  CHECK(f.pods.log ==
        Lines{"newest 1 of 1", "u@1 a name of the pod is no UTF-8", name + "@1 a name of the pod is no UTF-8", "a@1 ok"});
  CHECK(f.add(name) == "invalid_argument: a name of the pod is no UTF-8");
  CHECK(f.remove(name) == "ok");
  CHECK(f.add("b") == "by 1");
  CHECK(f.server->links() == 1);
}

TEST_CASE("of two proxies the newest gets additions, both get removals, and the older one takes over") {
  Fixture f;
  RunningClient older(f);
  auto newer = std::make_unique<RunningClient>(f);
  CHECK(f.add("a") == "by 2");
  CHECK(f.remove("a") == "ok");
  CHECK(older.proxy.log == Lines{"snapshot of 0", "remove a"});
  CHECK(newer->proxy.log == Lines{"snapshot of 0", "add a", "remove a"});
  newer.reset();
  REQUIRE(f.until([&] { return f.server->links() == 1; }));
  CHECK(f.pods.log.back() == "newest 1 of 1");
  CHECK(f.add("b") == "by 1");
}

TEST_CASE("who does not say hello in time, or says something else, is no proxy") {
  Fixture f;
  Hand silent(f), wrong(f);
  wrong.send("GET / HTTP/1.1\r\n\r\n");
  CHECK(wrong.receive() == "end");
  const auto since = f.world.clock().monotonic();
  CHECK(silent.receive() == "end");
  CHECK(f.world.clock().monotonic() - since <= 6s);
  CHECK(f.pods.log.empty());
}

TEST_CASE("an answer that does not come in 5 s ends the connection and its callers") {
  Fixture f;
  Hand hand(f);
  hand.send(encode(Hello{}));
  CHECK(hand.receive() == "snapshot");
  hand.send(encode(Ack{}));
  CHECK(f.add("a") == "timeout: ztunnel did not answer in time");
  CHECK(hand.receive() == "add a");
  CHECK(hand.receive() == "end");
  CHECK(f.server->links() == 0);
}

TEST_CASE("an answer to nothing, or no answer, ends the connection") {
  for (const auto& bytes : {encode(Ack{}), std::string("nonsense"), std::string()}) {
    Fixture f;
    Hand hand(f);
    hand.send(encode(Hello{}));
    CHECK(hand.receive() == "snapshot");
    hand.send(encode(Ack{}));
    hand.send(bytes);
    CHECK(hand.receive() == "end");
    REQUIRE(f.until([&] { return f.server->links() == 0; }));
  }
}

TEST_CASE("a proxy that goes away is noticed at once, and who waits for it is told") {
  Fixture f;
  Hand hand(f);
  hand.send(encode(Hello{}));
  CHECK(hand.receive() == "snapshot");
  Scope scope(f.loop);
  std::string first, second;
  scope.spawn(Fixture::add_task(f, "a", first));  // waits behind the snapshot
  scope.spawn(Fixture::add_task(f, "b", second));
  hand.socket->close();
  f.world.run(scope.join());
  CHECK(first.starts_with("closed: "));
  CHECK(second.starts_with("closed: "));
  CHECK(f.pods.log.back() == "newest 0 of 0");
}

TEST_CASE("what waits for a proxy is bounded") {
  Fixture f;
  Hand hand(f);
  hand.send(encode(Hello{}));
  CHECK(hand.receive() == "snapshot");
  Scope scope(f.loop);
  std::vector<std::string> outcomes(Server::kQueueMax + 1);
  for (auto& outcome : outcomes) scope.spawn(Fixture::add_task(f, "a", outcome));
  CHECK(outcomes.back().starts_with("limit: "));
  hand.socket->close();
  f.world.run(scope.join());
  CHECK(outcomes.front().starts_with("closed: "));
}

TEST_CASE("proxies beyond the limit are turned away") {
  Fixture f;
  std::vector<std::unique_ptr<Hand>> hands;
  for (std::size_t i = 0; i < Server::kLinksMax; ++i) {
    hands.push_back(std::make_unique<Hand>(f));
    hands.back()->send(encode(Hello{}));
    CHECK(hands.back()->receive() == "snapshot");
    hands.back()->send(encode(Ack{}));
  }
  Hand late(f);
  CHECK(late.receive() == "end");
  CHECK(f.server->links() == Server::kLinksMax);
}

TEST_CASE("changes during a snapshot follow it") {
  Fixture f;
  f.pods.pods = {{{"a", "n", "ns", "sa"}, any_file()}};
  Hand hand(f);
  hand.send(encode(Hello{}));
  CHECK(hand.receive() == "add a");
  Scope scope(f.loop);
  std::string added, removed;
  scope.spawn(Fixture::add_task(f, "b", added));
  scope.spawn(Fixture::remove_task(f, "a", removed));
  for (const auto* expected : {"snapshot", "add b", "del a"}) {
    hand.send(encode(Ack{}));
    CHECK(hand.receive() == expected);
  }
  hand.send(encode(Ack{}));
  f.world.run(scope.join());
  CHECK(added == "by 1");
  CHECK(removed == "ok");
}

namespace {

// A proxy connects, gets a snapshot of two pods, and one more pod after it. One of the two sides is stopped.
struct OneHandover {
  enum class Stops { kProxy, kAgent };
  explicit OneHandover(Stops stops_) : stops(stops_) {
    f.pods.pods = {{{"one", "n", "ns", "sa"}, any_file()}, {{"two", "n", "ns", "sa"}, any_file()}};
    proxies.spawn(run(*this));
  }
  ~OneHandover() {
    proxies.request_stop();
    f.world.run(proxies.join());
    f.world.run(adding.join());
  }
  static Task<void> run(OneHandover& self) {
    auto ended = co_await self.client.run(self.proxies.token());
    CHECK(ended);
    self.proxy_ended = true;
  }
  static Task<void> add(OneHandover& self) {
    Pod pod{"three", "n", "ns", "sa"};
    auto netns = any_file();
    auto added = co_await self.f.server->add(std::move(pod), std::move(netns), {});
    self.added = added.has_value();
    self.answered = true;
  }
  sim::World& world() { return f.world; }
  bool over() {
    if (proxy.ready && !asked) {
      asked = true;
      adding.spawn(add(*this));
    }
    return answered;
  }
  void stop() {
    if (stops == Stops::kProxy) {
      proxies.request_stop();
    } else {
      f.scope.request_stop();
      ending.spawn(end(*this));
    }
  }
  static Task<void> end(OneHandover& self) {
    co_await self.f.scope.join();
    self.agent_ended = true;
  }
  bool stopped() { return (stops == Stops::kProxy ? proxy_ended : agent_ended) && (!asked || answered); }
  void check() {
    if (added) CHECK(std::ranges::count(proxy.log, "add three") == 1);
    f.world.run(ending.join());
  }

  const Stops stops;
  Fixture f;
  Proxy proxy;
  Client client{f.loop, f.network, proxy, "/zds.sock"};
  Scope proxies{f.loop}, adding{f.loop}, ending{f.loop};
  bool asked = false, answered = false, added = false, proxy_ended = false, agent_ended = false;
};

}  // namespace

TEST_CASE("a handover that either side stops at any point ends for both") {
  for (const auto stops : {OneHandover::Stops::kProxy, OneHandover::Stops::kAgent}) {
    const auto points = sim::stop_everywhere<OneHandover>(Server::kAnswerLimit, stops);
    std::printf("a handover stopped by the %s at %zu points\n", stops == OneHandover::Stops::kProxy ? "proxy" : "agent",
                points);
    CHECK(points > 20);
  }
}
