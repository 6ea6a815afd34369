// What io::Network promises about connecting, listening, limits and threads, checked on every engine.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <filesystem>
#include <iterator>
#include <thread>

#include "lib/io/kernel_sockets.h"
#include "tests/support/count.h"
#include "tests/support/traffic.h"

using namespace weft;
using namespace weft::io;
using namespace weft::testing;
using namespace std::chrono_literals;

namespace {

Task<void> refused(Engine& engine) {
  auto network = engine.networks().own();
  SocketAddress address;
  {
    auto listener = network->listen(kLoopback, {});
    REQUIRE(listener);
    address = (*listener)->address();
  }
  co_await settle(engine);
  auto stream = co_await network->connect(address, {}, {});
  REQUIRE(!stream);
  CHECK(stream.error().code() == ErrorCode::kRefused);
  StopSource stopped;
  stopped.request_stop();
  auto cancelled = co_await network->connect(address, {}, stopped.token());
  REQUIRE(!cancelled);
  CHECK(cancelled.error().code() == ErrorCode::kCancelled);
}

// Counts what arrives at `listener`, until `stop`.
Task<void> take(Listener& listener, int& taken, StopToken stop) {
  for (;;) {
    auto accepted = co_await listener.accept(stop);
    if (!accepted) co_return;
    ++taken;  // and closes it, so that this end is the one that has to remember the connection
  }
}

Task<void> joined_listeners(Engine& engine) {
  auto network = engine.networks().own();
  auto first = network->listen(kLoopback, {.sharing = PortSharing::kFirst});
  REQUIRE(first);
  const auto address = (*first)->address();
  for (const auto sharing : {PortSharing::kFirst, PortSharing::kAlone}) {
    auto taken = network->listen(address, {.sharing = sharing});
    REQUIRE(!taken);
    CHECK(taken.error().code() == ErrorCode::kAddressInUse);
  }
  auto second = network->listen(address, {.sharing = PortSharing::kJoin});
  REQUIRE(second);
  auto alone = network->listen(kLoopback, {});
  REQUIRE(alone);
  for (const auto sharing : {PortSharing::kJoin, PortSharing::kShared}) {
    auto intruder = network->listen((*alone)->address(), {.sharing = sharing});
    REQUIRE(!intruder);
    CHECK(intruder.error().code() == ErrorCode::kAddressInUse);
  }

  int by_first = 0, by_second = 0;
  Scope taking(engine.loop());
  taking.spawn(take(**first, by_first, taking.token()));
  taking.spawn(take(**second, by_second, taking.token()));
  std::vector<StreamPtr> connected;
  for (int i = 0; i < 200; ++i) {  // all at one of two: one chance in 2^199
    auto stream = co_await network->connect(address, {}, {});
    REQUIRE(stream);
    connected.push_back(std::move(*stream));
  }
  while (by_first + by_second < 200) co_await yield_to(engine.loop());
  CHECK(by_first > 0);
  CHECK(by_second > 0);
  taking.request_stop();
  co_await taking.join();
  connected.clear();
  first->reset();
  second->reset();
  co_await settle(engine);
  auto successor = network->listen(address, {.sharing = PortSharing::kFirst});
  CHECK(successor);
}

Task<void> connect_cancelled(Engine& engine) {
  auto network = engine.networks().own();
  ListenOptions options;
  options.backlog = 1;
  auto listener = network->listen(kLoopback, options);
  REQUIRE(listener);
  std::vector<StreamPtr> connected;
  for (int i = 0; i < 20; ++i) {
    Deadline deadline(engine.loop(), 50ms, {});
    auto stream = co_await network->connect((*listener)->address(), {}, deadline.token());
    if (!stream) {
      auto error = deadline.explain(std::move(stream).error(), "connect");
      CHECK(error.code() == ErrorCode::kTimeout);
      co_return;
    }
    connected.push_back(std::move(*stream));
  }
  FAIL("a listener with a backlog of one took twenty connections");
}

Task<void> accept_until_closed(Listener& listener, Count& accepted_count, std::optional<ErrorCode>& end) {
  for (;;) {
    auto accepted = co_await listener.accept({});
    if (!accepted) {
      end = accepted.error().code();
      co_return;
    }
    accepted_count.add();
  }
}

Task<void> listener_close(Engine& engine) {
  auto network = engine.networks().own();
  auto listener = network->listen(kLoopback, {});
  REQUIRE(listener);
  Count count(engine.loop());
  std::optional<ErrorCode> end;
  Scope scope(engine.loop());
  scope.spawn(accept_until_closed(**listener, count, end));
  auto first = co_await network->connect((*listener)->address(), {}, {});
  CHECK(first);
  co_await count.reach(1);
  (*listener)->close();
  (*listener)->close();
  co_await scope.join();
  CHECK(end == ErrorCode::kCancelled);
  auto second = co_await network->connect((*listener)->address(), {}, {});
  CHECK(!second);

  StopSource stop;
  auto other = network->listen(kLoopback, {});
  REQUIRE(other);
  Deadline deadline(engine.loop(), 5ms, {});
  auto stopped = co_await (*other)->accept(deadline.token());
  REQUIRE(!stopped);
  CHECK(stopped.error().code() == ErrorCode::kCancelled);
}

Task<void> finish_hands_out(Engine& engine) {
  auto network = engine.networks().own();
  ListenOptions options;
  options.backlog = 600;
  auto listener = network->listen(kLoopback, options);
  REQUIRE(listener);
  std::vector<StreamPtr> clients;
  for (int i = 0; i < 500; ++i) {
    auto client = co_await network->connect((*listener)->address(), {}, {});
    REQUIRE(client);
    clients.push_back(std::move(*client));
  }
  // One is taken, so that the engine has begun to accept; the others are queued, some here and some in the kernel.
  auto first = co_await (*listener)->accept({});
  REQUIRE(first);
  (*listener)->finish();
  auto late = co_await network->connect((*listener)->address(), {}, {});
  CHECK(!late);
  std::vector<StreamPtr> servers;
  servers.push_back(std::move(first->stream));
  for (;;) {
    auto accepted = co_await (*listener)->accept({});
    if (!accepted) {
      CHECK(accepted.error().code() == ErrorCode::kCancelled);
      break;
    }
    servers.push_back(std::move(accepted->stream));
  }
  REQUIRE(servers.size() == clients.size());
  for (std::size_t i = 0; i < clients.size(); ++i) {
    auto written = co_await servers[i]->write(BufferChain(Buffer::copy_of("x")));
    REQUIRE(written);
  }
  for (auto& client : clients) {
    auto got = co_await client->read(10);
    REQUIRE(got);
    CHECK(got->to_string() == "x");
  }
}

Task<void> finish_while_waiting(Engine& engine) {
  auto network = engine.networks().own();
  auto listener = network->listen(kLoopback, {});
  REQUIRE(listener);
  Count count(engine.loop());
  std::optional<ErrorCode> end;
  Scope scope(engine.loop());
  scope.spawn(accept_until_closed(**listener, count, end));
  co_await settle(engine);
  (*listener)->finish();
  (*listener)->finish();
  co_await scope.join();
  CHECK(count.value() == 0);
  CHECK(end == ErrorCode::kCancelled);
}

Task<void> dial_many(Network& network, SocketAddress address, int times, std::vector<StreamPtr>& clients) {
  for (int i = 0; i < times; ++i) {
    auto client = co_await network.connect(address, {}, {});
    if (client) clients.push_back(std::move(*client));
  }
}

Task<void> accept_counting(Listener& listener, Count& count) {
  for (;;) {
    auto accepted = co_await listener.accept({});
    if (!accepted) co_return;
    count.add();
  }
}

Task<void> port_is_handed_over(Engine& engine) {
  auto network = engine.networks().own();
  ListenOptions options;
  options.sharing = PortSharing::kShared;
  options.backlog = 600;
  auto older = network->listen(kLoopback, options);
  REQUIRE(older);
  const auto address = (*older)->address();
  Scope scope(engine.loop());
  Count with_older(engine.loop()), with_newer(engine.loop());
  std::vector<StreamPtr> clients;
  (*older)->yield_port();  // alone: nothing changes
  co_await dial_many(*network, address, 20, clients);
  auto newer = network->listen(address, options);
  REQUIRE(newer);
  scope.spawn(accept_counting(**older, with_older));
  scope.spawn(accept_counting(**newer, with_newer));
  (*older)->yield_port();
  co_await dial_many(*network, address, 100, clients);
  co_await with_older.reach(20);
  co_await with_newer.reach(100);
  (*older)->finish();
  co_await dial_many(*network, address, 20, clients);
  co_await with_newer.reach(120);
  // The one after that gets its part and no more: nobody has yielded to it.
  auto newest = network->listen(address, options);
  REQUIRE(newest);
  Count with_newest(engine.loop());
  scope.spawn(accept_counting(**newest, with_newest));
  co_await dial_many(*network, address, 100, clients);
  co_await with_newer.reach(121);
  co_await with_newest.reach(1);
  (*newer)->close();
  (*newest)->close();
  co_await scope.join();
  CHECK(with_older.value() == 20);
  CHECK(clients.size() == 240);
}

Task<void> one_echo_client(Network& network, SocketAddress address, int number, int& good) {
  auto stream = co_await network.connect(address, {}, {});
  if (!stream) co_return;
  const std::string text = "connection " + std::to_string(number);
  auto written = co_await (*stream)->write(BufferChain(Buffer::copy_of(text)));
  if (!written) co_return;
  auto finished = co_await (*stream)->shutdown_write();
  if (!finished) co_return;
  std::string reply;
  for (;;) {
    auto data = co_await (*stream)->read(1000);
    if (!data) co_return;
    if (data->empty()) break;
    reply += data->to_string();
  }
  if (reply == text) ++good;
}

Task<void> echo_owned(StreamPtr stream) {
  bool ok = false;
  co_await echo(*stream, ok);
}

Task<void> serve_echo(Listener& listener, Scope& scope) {
  for (;;) {
    auto accepted = co_await listener.accept({});
    if (!accepted) co_return;
    scope.spawn(echo_owned(std::move(accepted->stream)));
  }
}

Task<void> many_connections(Engine& engine, int total) {
  auto network = engine.networks().own();
  ListenOptions options;
  options.backlog = 4096;
  auto listener = network->listen(kLoopback, options);
  REQUIRE(listener);
  Scope servers(engine.loop()), clients(engine.loop());
  servers.spawn(serve_echo(**listener, servers));
  int good = 0;
  for (int i = 0; i < total; ++i) clients.spawn(one_echo_client(*network, (*listener)->address(), i, good));
  co_await clients.join();
  (*listener)->close();
  co_await servers.join();
  CHECK(good == total);
}

Task<void> out_of_descriptors(Engine& engine) {
  auto network = engine.networks().own();
  auto listener = network->listen(kLoopback, {});
  REQUIRE(listener);
  Count count(engine.loop());
  std::optional<ErrorCode> end;
  std::vector<StreamPtr> clients;
  for (int i = 0; i < 3; ++i) {
    auto client = co_await network->connect((*listener)->address(), {}, {});
    REQUIRE(client);
    clients.push_back(std::move(*client));
  }
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  rlimit tight = before;
  tight.rlim_cur = 3;  // every new descriptor's number is above it
  ::setrlimit(RLIMIT_NOFILE, &tight);
  Scope scope(engine.loop());
  scope.spawn(accept_until_closed(**listener, count, end));
  co_await settle(engine);
  CHECK(count.value() == 0);
  CHECK(!end);
  ::setrlimit(RLIMIT_NOFILE, &before);
  clients.pop_back();  // wakes the ring's listener at once, Asio's by its timer
  co_await count.reach(2);
  (*listener)->close();
  co_await scope.join();
  CHECK(end == ErrorCode::kCancelled);
}

std::ptrdiff_t open_descriptors() {
  const std::filesystem::directory_iterator found("/proc/self/fd");
  return std::distance(begin(found), end(found));
}

// Connections that wait to be taken.
Task<void> make_crowd(Network& network, const Listener& listener, std::vector<StreamPtr>& clients) {
  for (std::size_t i = 0; i < 64; ++i) {
    auto client = co_await network.connect(listener.address(), {}, {});
    REQUIRE(client);
    clients.push_back(std::move(*client));
  }
}

// Whoever takes connections counts them and has a bound; what waits to be taken is the kernel's and costs no descriptor.
Task<void> few_taken_ahead(Engine& engine) {
  constexpr std::ptrdiff_t kAhead = 4;
  auto network = engine.networks().own();
  auto listener = network->listen(kLoopback, {});
  REQUIRE(listener);
  std::vector<StreamPtr> clients, taken;
  co_await make_crowd(*network, **listener, clients);
  const auto before = open_descriptors();
  while (taken.size() < clients.size()) {
    auto accepted = co_await (*listener)->accept({});
    REQUIRE(accepted);
    taken.push_back(std::move(accepted->stream));
    if (taken.size() % 16 == 1) co_await settle(engine);
    CHECK(open_descriptors() - before - static_cast<std::ptrdiff_t>(taken.size()) <= kAhead);
  }
}

// Posts itself again until `done`, and notes how many connections were taken between two turns.
struct Between {
  Loop& loop;
  const std::vector<StreamPtr>& taken;
  std::size_t seen = 0, most = 0;
  bool done = false, over = false;
  void run() {
    most = std::max(most, taken.size() - seen);
    seen = taken.size();
    if (done) {
      over = true;
    } else {
      loop.post([this] { run(); });
    }
  }
};

Task<void> few_taken_a_turn(Engine& engine) {
  auto network = engine.networks().own();
  auto listener = network->listen(kLoopback, {});
  REQUIRE(listener);
  std::vector<StreamPtr> clients, taken;
  co_await make_crowd(*network, **listener, clients);
  Between others{engine.loop(), taken};
  others.run();
  for (std::size_t i = 0; i < clients.size(); ++i) {
    if (i == 32) (*listener)->finish();  // the rest comes from its own queue
    auto accepted = co_await (*listener)->accept({});
    REQUIRE(accepted);
    taken.push_back(std::move(accepted->stream));
  }
  others.done = true;
  while (!others.over) co_await yield_to(engine.loop());
  CHECK(others.most <= kAcceptedPerTurn);
}

Task<void> addresses(Engine& engine) {
  auto network = engine.networks().own();
  ListenOptions options;
  options.want_original_destination = true;
  auto listener = network->listen(kLoopback, options);
  REQUIRE(listener);
  auto client = co_await network->connect((*listener)->address(), {}, {});
  REQUIRE(client);
  auto accepted = co_await (*listener)->accept({});
  REQUIRE(accepted);
  CHECK(accepted->local == (*listener)->address());
  CHECK(accepted->original_destination == (*listener)->address());
  CHECK(accepted->peer.ip() == IpAddress::loopback(false));
  CHECK(accepted->peer.port() != 0);
}

}  // namespace

TEST_CASE("listeners that join a port share its connections, and none joins a port taken alone") {
  on_every_engine(joined_listeners);
}
TEST_CASE("nobody listening is a refusal") { on_every_engine(refused); }
TEST_CASE("a connect that hangs ends with its deadline") { on_every_engine(connect_cancelled); }
TEST_CASE("a closed listener ends its accept and refuses") { on_every_engine(listener_close); }
TEST_CASE("a listener that finishes hands out everyone who is queued") { on_every_engine(finish_hands_out); }
TEST_CASE("a listener that finishes ends an accept that waits") { on_every_engine(finish_while_waiting); }
TEST_CASE("a listener that yields its port leaves what begins later to a newer one") {
  on_every_engine(port_is_handed_over);
}
TEST_CASE("an accepted connection knows its addresses") { on_every_engine(addresses); }
TEST_CASE("running out of descriptors pauses accepting") { on_every_engine(out_of_descriptors, true); }
TEST_CASE("connections that nobody has taken yet hold few descriptors") { on_every_engine(few_taken_ahead, true); }
TEST_CASE("while many connections wait to be taken, others have their turns in between") {
  on_every_engine(few_taken_a_turn, true);
}
TEST_CASE("two thousand connections at once") {
  on_every_engine([](Engine& engine) { return many_connections(engine, 2000); });
}

TEST_CASE("actions posted from another thread arrive in order") {
  for (const auto& name : engine_names()) {
    INFO("engine " << name);
    auto engine = make_engine(name);
    if (!engine->is_real()) continue;
    std::vector<int> seen;
    Event all(engine->loop());
    std::thread poster([&] {
      for (int i = 0; i < 1000; ++i) {
        engine->loop().post_from_any_thread([&, i] {
          seen.push_back(i);
          if (i == 999) all.set();
        });
      }
    });
    struct Waits {
      static Task<void> run(Event& event) {
        auto done = co_await event.wait();
        (void)done;
      }
    };
    engine->run(Waits::run(all));
    poster.join();
    REQUIRE(seen.size() == 1000);
    CHECK(std::is_sorted(seen.begin(), seen.end()));
  }
}
