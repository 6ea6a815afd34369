// The proxy's side alone, against an agent that says whatever it likes.
#include "lib/zds/client.h"

#include <fcntl.h>

#include <catch2/catch_test_macros.hpp>
#include <deque>

#include "lib/async/event.h"
#include "lib/async/manual_loop.h"
#include "lib/async/scope.h"

using namespace weft;
using namespace weft::zds;
using namespace std::chrono_literals;

namespace {

Fd any_file() { return Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

// One connection as the agent plays it: packets to be read, then the end; answers are collected.
struct Script {
  std::deque<Result<io::Packet>> packets;
  bool stays_open = false;

  Script& say(std::string data, std::size_t descriptors = 0) {
    io::Packet packet{std::move(data), {}};
    for (std::size_t i = 0; i < descriptors; ++i) packet.descriptors.push_back(any_file());
    packets.push_back(std::move(packet));
    return *this;
  }
  Script& add(const std::string& uid) { return say(encode(Add{{uid, "n", "ns", "sa"}}).value(), 1); }
  Script& keep(const std::string& uid) { return say(encode(Keep{uid}).value()); }
  Script& del(const std::string& uid) { return say(encode(Del{uid}).value()); }
  Script& snapshot_sent() { return say(encode(SnapshotSent{}).value()); }
};

class Agent final : public io::PacketNetwork {
 public:
  explicit Agent(Loop& loop) : loop_(loop) {}

  Task<Result<io::PacketSocketPtr>> connect(std::string, StopToken stop) override {
    connects.push_back(loop_.now());
    if (refuse > 0) {
      --refuse;
      co_return fail(ErrorCode::kRefused, "nobody there");
    }
    if (scripts.empty()) {
      Script silent;
      silent.stays_open = true;
      scripts.push_back(std::move(silent));
    }
    auto script = std::move(scripts.front());
    scripts.pop_front();
    co_return std::make_unique<Socket>(*this, std::move(script));
  }
  Result<io::PacketListenerPtr> listen(const std::string&, unsigned) override {
    return fail(ErrorCode::kUnsupported, "only connects");
  }

  std::deque<Script> scripts;
  int refuse = 0;
  bool deaf = false;  // hellos and acks cannot be sent
  std::vector<MonotonicTime> connects;
  std::vector<std::string> acks;

 private:
  class Socket final : public io::PacketSocket {
   public:
    Socket(Agent& agent, Script script) : agent_(agent), script_(std::move(script)), never_(agent.loop_) {}
    Task<Result<io::Packet>> receive(std::size_t size_max, StopToken stop) override {
      if (script_.packets.empty()) {
        if (!script_.stays_open) co_return fail(ErrorCode::kClosed, "connection closed by peer");
        auto woken = co_await never_.wait(stop);
        (void)woken;
        co_return fail(ErrorCode::kCancelled, "stopped");
      }
      auto packet = std::move(script_.packets.front());
      script_.packets.pop_front();
      if (packet && packet->data.size() > size_max) co_return fail(ErrorCode::kProtocol, "packet too long");
      co_return std::move(packet);
    }
    Task<Result<void>> send(std::string data, std::optional<int>, StopToken) override {
      if (agent_.deaf) co_return fail(ErrorCode::kClosed, "broken pipe");
      if (std::exchange(greeted_, true)) {
        agent_.acks.push_back(decode_ack(data).value().error);
      } else {
        CHECK(decode_hello(data).value().version == 1);
      }
      co_return Result<void>{};
    }
    void close() override {}

   private:
    Agent& agent_;
    Script script_;
    Event never_;
    bool greeted_ = false;
  };

  Loop& loop_;
};

struct Pods final : PodEvents {
  void connected() override { log.push_back("connected"); }
  Task<Result<void>> add(Pod pod, Fd netns, StopToken) override {
    CHECK(netns);
    log.push_back("add " + pod.uid + " " + pod.namespace_name + "/" + pod.name + "/" + pod.service_account);
    if (pod.uid == "bad") co_return fail(ErrorCode::kAddressInUse, "bind 15001");
    co_return Result<void>{};
  }
  Task<void> remove(std::string uid) override {
    log.push_back("remove " + uid);
    co_return;
  }
  void forget(std::string uid) override { log.push_back("forget " + uid); }
  Task<void> snapshot_done(std::set<std::string> named) override {
    std::string line = "snapshot";
    for (const auto& uid : named) line += " " + uid;
    log.push_back(line);
    co_return;
  }
  void disconnected() override { log.push_back("disconnected"); }
  std::vector<std::string> log;
};

struct Fixture {
  ManualLoop loop;
  Agent agent{loop};
  Pods pods;
  Client client{loop, agent, pods, "/agent.sock"};
  StopSource stop;
  Scope scope{loop};
  std::optional<Result<void>> outcome;

  static Task<void> drive(Fixture& self) {
    auto ended = co_await self.client.run(self.stop.token());
    self.outcome = std::move(ended);
  }
  void run(Duration time = 0ms) {
    scope.spawn(drive(*this));
    loop.advance(time);
  }
  ~Fixture() {
    stop.request_stop();
    loop.run_until_idle();
    REQUIRE(outcome.has_value());
  }
};

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("a snapshot and what follows become calls, each answered") {
  Fixture f;
  f.agent.scripts.emplace_back().add("a").keep("k").add("b").del("b").snapshot_sent().add("c").del("a");
  f.agent.scripts.back().stays_open = true;
  f.run();
  CHECK(f.pods.log ==
        Lines{"connected", "add a ns/n/sa", "add b ns/n/sa", "forget b", "snapshot a k", "add c ns/n/sa", "remove a"});
  CHECK(f.agent.acks == Lines(7, ""));
  CHECK(f.client.connected());
}

TEST_CASE("a pod that cannot be served is refused and the connection goes on") {
  Fixture f;
  f.agent.scripts.emplace_back().add("bad").snapshot_sent();
  f.agent.scripts.back().stays_open = true;
  f.run();
  CHECK(f.agent.acks == Lines{"failure to start proxy : bind 15001", ""});
  CHECK(f.pods.log.back() == "snapshot bad");
  CHECK(f.agent.connects.size() == 1);
}

TEST_CASE("what cannot be read is answered with an error and ends the connection, not the client") {
  struct Case {
    std::string bytes;
    std::size_t descriptors;
  };
  const auto add = encode(Add{{"a", "n", "ns", "sa"}}).value();
  const std::vector<Case> cases{{add, 0},                       // an Add without a namespace
                                {add, 2},                       // with two
                                {encode(Del{"a"}).value(), 1},  // a namespace where none belongs
                                {encode(SnapshotSent{}).value(), 1},
                                {add.substr(0, add.size() - 1), 1},      // cut short
                                {std::string(kMessageMax + 1, 'x'), 0},  // too long
                                {"", 0},
                                {std::string("\x0a\x00", 2), 1}};  // no UID
  for (const auto& bad : cases) {
    Fixture f;
    f.agent.scripts.emplace_back().say(bad.bytes, bad.descriptors);
    f.agent.scripts.emplace_back().snapshot_sent();
    f.agent.scripts.back().stays_open = true;
    f.run(1s);
    INFO(bad.bytes.size() << " bytes, " << bad.descriptors << " descriptors");
    REQUIRE(f.agent.acks.size() == 2);
    CHECK(f.agent.acks[0].starts_with("failure to read message : "));
    CHECK(f.agent.acks[1].empty());
    CHECK(f.pods.log == Lines{"connected", "disconnected", "connected", "snapshot"});
    CHECK_FALSE(f.outcome.has_value());
  }
}

TEST_CASE("breaking the protocol ends the client after an answer that says so") {
  std::vector<Script> scripts(3);
  scripts[0].snapshot_sent().keep("k");
  scripts[1].snapshot_sent().snapshot_sent();
  scripts[2].snapshot_sent().say(encode(Add{{"a", "", "", ""}, false}).value(), 1);
  for (auto& script : scripts) {
    Fixture f;
    f.agent.scripts.push_back(std::move(script));
    f.run(1min);
    REQUIRE(f.agent.acks.size() == 2);
    CHECK(f.agent.acks[1].starts_with("failure to process message : "));
    REQUIRE(f.outcome.has_value());
    REQUIRE_FALSE(*f.outcome);
    CHECK(f.outcome->error().code() == ErrorCode::kProtocol);
    CHECK(f.agent.connects.size() == 1);
  }
}

TEST_CASE("connecting is tried for ever, ever slower") {
  Fixture f;
  f.agent.refuse = 14;
  f.run();
  f.loop.advance(20ms);
  CHECK(f.agent.connects.size() == 2);
  f.loop.advance(39ms);
  CHECK(f.agent.connects.size() == 2);
  f.loop.advance(1ms);
  CHECK(f.agent.connects.size() == 3);
  f.loop.advance(2min);
  CHECK(f.client.connected());
  for (std::size_t i = 1; i < f.agent.connects.size(); ++i) CHECK(f.agent.connects[i] - f.agent.connects[i - 1] <= 15s);
}

TEST_CASE("a connection lost after its snapshot is made anew at once, one lost before with a pause") {
  Fixture f;
  f.agent.scripts.emplace_back().snapshot_sent();
  f.agent.scripts.emplace_back();
  f.agent.scripts.emplace_back();
  f.agent.scripts.emplace_back().snapshot_sent();
  f.agent.scripts.back().stays_open = true;
  f.run();
  CHECK(f.agent.connects.size() == 2);
  f.loop.advance(6ms);
  CHECK(f.agent.connects.size() == 3);
  f.loop.advance(12ms);
  CHECK(f.agent.connects.size() == 4);
  CHECK(f.pods.log == Lines{"connected", "snapshot", "disconnected", "connected", "disconnected", "connected",
                            "disconnected", "connected", "snapshot"});
}

TEST_CASE("an agent that cannot be answered is left, and greeted again later") {
  Fixture f;
  f.agent.deaf = true;
  f.run(100ms);
  CHECK(f.agent.connects.size() > 2);
  CHECK(f.agent.connects.size() < 20);
}

TEST_CASE("each connection names its pods afresh") {
  Fixture f;
  f.agent.scripts.emplace_back().add("a").snapshot_sent();
  f.agent.scripts.emplace_back().keep("b").snapshot_sent();
  f.agent.scripts.back().stays_open = true;
  f.run();
  CHECK(f.pods.log.back() == "snapshot b");
}
