// What io::Network and io::Stream promise, checked on every engine.
#include <catch2/catch_test_macros.hpp>

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "lib/async/scope.h"
#include "lib/base/random.h"
#include "lib/io/pump.h"
#include "tests/support/engine.h"

using namespace weft;
using namespace weft::io;
using namespace weft::testing;
using namespace std::chrono_literals;

namespace {

const SocketAddress kLoopback(IpAddress::loopback(false), 0);

// FNV-1a over everything that passed.
struct Digest {
  std::uint64_t hash = 1469598103934665603u;
  std::size_t size = 0;
  void add(const BufferChain& data) {
    for (std::size_t i = 0; i < data.slice_count(); ++i) {
      for (const auto byte : data.slice(i).span()) hash = (hash ^ static_cast<std::uint8_t>(byte)) * 1099511628211u;
    }
    size += data.size();
  }
  bool operator==(const Digest&) const = default;
};

BufferChain random_chain(Random& random, std::size_t size, std::size_t slice_max) {
  BufferChain chain;
  while (chain.size() < size) {
    std::string part(1 + random.below(std::min(slice_max, size - chain.size())), 0);
    for (auto& character : part) character = static_cast<char>(random.next());
    chain.append(Buffer::copy_of(part));
  }
  return chain;
}

Task<void> echo(Stream& stream, bool& ok) {
  for (;;) {
    auto data = co_await stream.read(100'000);
    if (!data) co_return;
    if (data->empty()) break;
    const auto size = data->size();
    auto written = co_await stream.write(std::move(*data));
    if (!written) co_return;
    stream.consumed(size);
  }
  auto finished = co_await stream.shutdown_write();
  ok = finished.has_value();
}

Task<void> send_random(Stream& stream, std::uint64_t seed, std::size_t total, std::size_t slice_max, Digest& digest, bool& ok) {
  SeededRandom random(seed);
  while (digest.size < total) {
    auto data = random_chain(random, std::min<std::size_t>(total - digest.size, 1 + random.below(300'000)), slice_max);
    digest.add(data);
    auto written = co_await stream.write(std::move(data));
    if (!written) co_return;
  }
  auto finished = co_await stream.shutdown_write();
  ok = finished.has_value();
}

Task<Result<void>> receive_all(Stream& stream, Digest& digest) {
  for (;;) {
    auto data = co_await stream.read(256 * 1024);
    if (!data) co_return fail(std::move(data).error());
    if (data->empty()) co_return Result<void>{};
    digest.add(*data);
    stream.consumed(data->size());
  }
}

struct Pair {
  StreamPtr client;
  StreamPtr server;
};

Task<void> accept_one(Listener& listener, StreamPtr& out) {
  auto accepted = co_await listener.accept({});
  if (accepted) out = std::move(accepted->stream);
}

Task<Pair> make_pair(Engine& engine) {
  auto network = engine.networks().own();
  auto listener = network->listen(kLoopback, {});
  Pair pair;
  if (!listener) co_return pair;
  Scope scope(engine.loop());
  scope.spawn(accept_one(**listener, pair.server));
  auto connected = co_await network->connect((*listener)->address(), {}, {});
  co_await scope.join();
  if (connected) pair.client = std::move(*connected);
  co_return pair;
}

// Runs one coroutine per engine and checks that nothing is left behind.
template <typename F>
void on_every_engine(F body, bool only_real = false) {
  for (const auto& name : engine_names()) {
    INFO("engine " << name);
    auto engine = make_engine(name);
    REQUIRE(engine);
    if (only_real && !engine->is_real()) continue;
    engine->run(yield_to(engine->loop()));  // first use opens what stays open
    const auto before = engine->descriptors();
    engine->run(body(*engine));
    CHECK(engine->descriptors() == before);
    CHECK(engine->buffers_out() == 0);
  }
}

Task<void> echo_both_ways(Engine& engine) {
  auto pair = co_await make_pair(engine);
  REQUIRE(pair.client);
  REQUIRE(pair.server);
  for (const std::size_t slice_max : {std::size_t{200'000}}) {
    Scope scope(engine.loop());
    Digest sent, received;
    bool echoed = false, sent_all = false;
    scope.spawn(echo(*pair.server, echoed));
    scope.spawn(send_random(*pair.client, 7, 6'000'000, slice_max, sent, sent_all));
    auto result = co_await receive_all(*pair.client, received);
    co_await scope.join();
    CHECK(result);
    CHECK(echoed);
    CHECK(sent_all);
    CHECK(received == sent);
  }
}

Task<void> echo_tiny_slices(Engine& engine) {
  auto pair = co_await make_pair(engine);
  REQUIRE(pair.client);
  Scope scope(engine.loop());
  Digest sent, received;
  bool echoed = false, sent_all = false;
  scope.spawn(echo(*pair.server, echoed));
  scope.spawn(send_random(*pair.client, 8, 200'000, 90, sent, sent_all));
  auto result = co_await receive_all(*pair.client, received);
  co_await scope.join();
  CHECK(result);
  CHECK(received == sent);
}

Task<void> half_close(Engine& engine) {
  auto pair = co_await make_pair(engine);
  REQUIRE(pair.client);
  auto finished = co_await pair.client->shutdown_write();
  CHECK(finished);
  auto end = co_await pair.server->read(10);
  REQUIRE(end);
  CHECK(end->empty());
  for (int i = 0; i < 3; ++i) {
    auto written = co_await pair.server->write(BufferChain(Buffer::copy_of("still here")));
    CHECK(written);
    auto data = co_await pair.client->read(10);
    REQUIRE(data);
    CHECK(data->to_string() == "still here");
  }
  auto also = co_await pair.server->shutdown_write();
  CHECK(also);
  auto last = co_await pair.client->read(10);
  REQUIRE(last);
  CHECK(last->empty());
}

Task<void> read_one(Stream& stream, std::optional<Result<BufferChain>>& out) {
  out = co_await stream.read(1000);
}

Task<void> reset_wakes_reader(Engine& engine) {
  for (const bool from_client : {true, false}) {
    auto pair = co_await make_pair(engine);
    REQUIRE(pair.client);
    Stream& aborting = from_client ? *pair.client : *pair.server;
    Stream& other = from_client ? *pair.server : *pair.client;
    Scope scope(engine.loop());
    std::optional<Result<BufferChain>> own, peers;
    scope.spawn(read_one(aborting, own));
    scope.spawn(read_one(other, peers));
    co_await yield_to(engine.loop());
    aborting.abort(AbortReason::kReset);
    aborting.abort(AbortReason::kReset);
    co_await scope.join();
    REQUIRE(own.has_value());
    REQUIRE(!*own);
    CHECK(own->error().code() == ErrorCode::kCancelled);
    REQUIRE(peers.has_value());
    REQUIRE(!*peers);
    CHECK(peers->error().code() == ErrorCode::kReset);
    auto later = co_await other.write(BufferChain(Buffer::copy_of("x")));
    REQUIRE(!later);
    CHECK(later.error().code() == ErrorCode::kReset);
    auto again = co_await aborting.write(BufferChain(Buffer::copy_of("x")));
    REQUIRE(!again);
    CHECK(again.error().code() == ErrorCode::kCancelled);
  }
}

Task<void> fill(Stream& stream, std::size_t total, std::size_t& written_bytes, std::optional<Error>& error) {
  const Buffer part = Buffer::copy_of(std::string(100'000, 'f'));
  while (written_bytes < total) {
    auto written = co_await stream.write(BufferChain(part));
    if (!written) {
      error = std::move(written).error();
      co_return;
    }
    written_bytes += part.size();
  }
}

// Lets the engine do whatever it can do without further input.
Task<void> settle(Engine& engine) {
  for (int i = 0; i < 50; ++i) {
    auto slept = co_await sleep_for(engine.loop(), 1ms, {});
    (void)slept;
  }
}

Task<void> reset_wakes_writer(Engine& engine) {
  for (const bool by_peer : {true, false}) {
    auto pair = co_await make_pair(engine);
    REQUIRE(pair.client);
    Scope scope(engine.loop());
    std::size_t bytes = 0;
    std::optional<Error> error;
    scope.spawn(fill(*pair.client, 1u << 30, bytes, error));
    co_await settle(engine);
    CHECK(!error);
    (by_peer ? *pair.server : *pair.client).abort(AbortReason::kReset);
    co_await scope.join();
    REQUIRE(error);
    CHECK(error->code() == (by_peer ? ErrorCode::kReset : ErrorCode::kCancelled));
    if (!by_peer) continue;
    // The reset was told to the writer; the reader must not take it for an orderly end.
    auto data = co_await pair.client->read(10);
    REQUIRE(!data);
    CHECK(data.error().code() == ErrorCode::kReset);
  }
}

Task<void> slow_reader(Engine& engine) {
  auto pair = co_await make_pair(engine);
  REQUIRE(pair.client);
  Scope scope(engine.loop());
  Digest sent, received;
  bool sent_all = false;
  scope.spawn(send_random(*pair.client, 3, 30'000'000, 100'000, sent, sent_all));
  // A first read arms the receiver; then nobody reads.
  auto first = co_await pair.server->read(1);
  REQUIRE(first);
  received.add(*first);
  co_await settle(engine);
  CHECK(!sent_all);
  CHECK(sent.size < 12'000'000);  // the kernel's buffers, our credit, one write
  auto result = co_await receive_all(*pair.server, received);
  CHECK(result);
  co_await scope.join();
  CHECK(received == sent);
}

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

Task<void> accept_until_closed(Listener& listener, int& accepted_count, std::optional<ErrorCode>& end) {
  for (;;) {
    auto accepted = co_await listener.accept({});
    if (!accepted) {
      end = accepted.error().code();
      co_return;
    }
    ++accepted_count;
  }
}

Task<void> listener_close(Engine& engine) {
  auto network = engine.networks().own();
  auto listener = network->listen(kLoopback, {});
  REQUIRE(listener);
  int count = 0;
  std::optional<ErrorCode> end;
  Scope scope(engine.loop());
  scope.spawn(accept_until_closed(**listener, count, end));
  auto first = co_await network->connect((*listener)->address(), {}, {});
  CHECK(first);
  co_await settle(engine);
  CHECK(count == 1);
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

Task<void> abort_after(Engine& engine, Stream& stream, int turns, AbortReason reason) {
  for (int i = 0; i < turns; ++i) co_await yield_to(engine.loop());
  stream.abort(reason);
}

Task<void> drain(Stream& stream) {
  Digest digest;
  auto result = co_await receive_all(stream, digest);
  (void)result;
}

Task<void> cancel_at_every_step(Engine& engine) {
  for (int turns = 0; turns < 40; ++turns) {
    for (const auto reason : {AbortReason::kReset, AbortReason::kCancel}) {
      auto pair = co_await make_pair(engine);
      REQUIRE(pair.client);
      Scope scope(engine.loop());
      Digest sent;
      bool ignored = false, also_ignored = false;
      scope.spawn(echo(*pair.server, ignored));
      scope.spawn(send_random(*pair.client, 5, 500'000, 50'000, sent, also_ignored));
      scope.spawn(drain(*pair.client));
      scope.spawn(abort_after(engine, turns % 2 ? *pair.client : *pair.server, turns, reason));
      co_await scope.join();
    }
  }
}

Task<void> unread_streams(Engine& engine, std::size_t count, std::vector<Pair>& pairs) {
  for (std::size_t i = 0; i < count; ++i) {
    auto pair = co_await make_pair(engine);
    REQUIRE(pair.client);
    // Big enough to be lent, read by nobody after the first byte.
    auto written = co_await pair.client->write(BufferChain(Buffer::copy_of(std::string(200'000, 'u'))));
    CHECK(written);
    auto first = co_await pair.server->read(1);
    CHECK(first);
    pairs.push_back(std::move(pair));
  }
}

Task<void> stuck_readers_starve_nobody(Engine& engine) {
  std::vector<Pair> stuck;
  co_await unread_streams(engine, 100, stuck);
  co_await settle(engine);
  co_await echo_both_ways(engine);
}

Task<void> destroyed_while_receiving(Engine& engine) {
  auto pair = co_await make_pair(engine);
  REQUIRE(pair.client);
  auto written = co_await pair.client->write(BufferChain(Buffer::copy_of("hello")));
  CHECK(written);
  auto data = co_await pair.server->read(100);
  REQUIRE(data);
  CHECK(data->to_string() == "hello");
  // The receive request is still in the kernel; the slice outlives the stream.
  pair.server.reset();
  auto end = co_await pair.client->read(100);
  if (end) CHECK(end->empty());
  CHECK(data->to_string() == "hello");
}

Task<void> hold_slices_and_destroy(Engine& engine, std::vector<BufferChain>& kept) {
  auto pair = co_await make_pair(engine);
  REQUIRE(pair.client);
  Scope scope(engine.loop());
  std::size_t bytes = 0;
  std::optional<Error> error;
  scope.spawn(fill(*pair.client, 1'000'000, bytes, error));
  std::size_t got = 0;
  while (got < 1'000'000) {
    auto data = co_await pair.server->read(100'000);
    REQUIRE(data);
    got += data->size();
    kept.push_back(std::move(*data));
  }
  co_await scope.join();
}

Task<void> out_of_descriptors(Engine& engine) {
  auto network = engine.networks().own();
  auto listener = network->listen(kLoopback, {});
  REQUIRE(listener);
  int count = 0;
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
  CHECK(count == 0);
  CHECK(!end);
  ::setrlimit(RLIMIT_NOFILE, &before);
  clients.pop_back();  // wakes the ring's listener at once, Asio's by its timer
  while (count < 2) co_await settle(engine);
  (*listener)->close();
  co_await scope.join();
  CHECK(end == ErrorCode::kCancelled);
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

Task<void> run_pump(Loop& loop, Stream& a, Stream& b, PumpCounters& counters, PumpResult& result) {
  result = co_await pump(loop, a, b, counters, {});
}

Task<void> proxied_both_ways(Engine& engine) {
  auto front = co_await make_pair(engine);
  auto back = co_await make_pair(engine);
  REQUIRE(back.client);
  Scope scope(engine.loop());
  PumpCounters counters;
  PumpResult result;
  Digest sent, received;
  bool echoed = false, sent_all = false;
  scope.spawn(run_pump(engine.loop(), *front.server, *back.client, counters, result));
  scope.spawn(echo(*back.server, echoed));
  scope.spawn(send_random(*front.client, 11, 5'000'000, 60'000, sent, sent_all));
  auto got = co_await receive_all(*front.client, received);
  co_await scope.join();
  CHECK(got);
  CHECK(received == sent);
  CHECK(result.outcome);
  CHECK(!result.reset);
  CHECK(counters.a_to_b == sent.size);
  CHECK(counters.b_to_a == sent.size);
}

Task<void> discard_into(Stream& stream, Result<void>& result) {
  for (;;) {
    auto data = co_await stream.read(256 * 1024);
    if (!data) result = fail(std::move(data).error());
    if (!data || data->empty()) co_return;
    stream.consumed(data->size());
  }
}

// A reset in the middle of a transfer, with both directions busy, is never passed on as an orderly end.
Task<void> proxied_resets(Engine& engine) {
  for (int turns = 1; turns < 60; ++turns) {
    const bool from_front = turns % 2 == 0;
    auto front = co_await make_pair(engine);
    auto back = co_await make_pair(engine);
    REQUIRE(back.client);
    Scope scope(engine.loop());
    PumpCounters counters;
    PumpResult result;
    std::size_t sent = 0, also_sent = 0;
    std::optional<Error> ignored, also_ignored;
    Result<void> end, also_end;
    scope.spawn(run_pump(engine.loop(), *front.server, *back.client, counters, result));
    scope.spawn(fill(*front.client, std::size_t{1} << 40, sent, ignored));
    scope.spawn(fill(*back.server, std::size_t{1} << 40, also_sent, also_ignored));
    scope.spawn(discard_into(*front.client, end));
    scope.spawn(discard_into(*back.server, also_end));
    scope.spawn(abort_after(engine, from_front ? *front.client : *back.server, turns, AbortReason::kReset));
    co_await scope.join();
    CHECK(result.reset);
    const auto& other_end = from_front ? also_end : end;
    REQUIRE(!other_end);
    CHECK(other_end.error().code() == ErrorCode::kReset);
  }
}

// A network namespace with its loopback up; none without the right to make one.
Fd make_network_namespace() {
  Fd netns;
  std::thread maker([&netns] {
    if (::unshare(CLONE_NEWNET) != 0) return;
    const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    request.ifr_name[0] = 'l';
    request.ifr_name[1] = 'o';
    request.ifr_flags = IFF_UP;
    if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) return;
    netns = Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  });
  maker.join();
  return netns;
}

Task<void> other_namespace(Engine& engine) {
  const Fd netns = make_network_namespace();
  if (!netns) {
    WARN("skipped: no right to make a network namespace");
    co_return;
  }
  auto inside = engine.networks().in_namespace(netns);
  REQUIRE(inside);
  auto listener = (*inside)->listen(kLoopback, {});
  REQUIRE(listener);
  auto outside = engine.networks().own();
  auto refused_outside = co_await outside->connect((*listener)->address(), {}, {});
  CHECK(!refused_outside);
  auto connected = co_await (*inside)->connect((*listener)->address(), {}, {});
  CHECK(connected);
  auto accepted = co_await (*listener)->accept({});
  CHECK(accepted);
  // On behalf of another address.
  ConnectOptions spoofed;
  spoofed.mark = 1337;
  spoofed.spoofed_source = IpAddress::parse("127.0.0.9").value();
  auto foreign = co_await (*inside)->connect((*listener)->address(), spoofed, {});
  REQUIRE(foreign);
  auto seen = co_await (*listener)->accept({});
  REQUIRE(seen);
  CHECK(seen->peer.ip() == *spoofed.spoofed_source);
}

}  // namespace

TEST_CASE("sockets live in the namespace they were made in") { on_every_engine(other_namespace, true); }
TEST_CASE("a pump between two connections carries bytes and ends") { on_every_engine(proxied_both_ways); }
TEST_CASE("a pump passes resets on as resets") { on_every_engine(proxied_resets); }
TEST_CASE("bytes come back unchanged in both directions at once") { on_every_engine(echo_both_ways); }
TEST_CASE("thousands of tiny slices come back unchanged") { on_every_engine(echo_tiny_slices); }
TEST_CASE("one direction ends while the other goes on") { on_every_engine(half_close); }
TEST_CASE("a reset wakes both readers, and is not an end of stream") { on_every_engine(reset_wakes_reader); }
TEST_CASE("a reset wakes a blocked writer") { on_every_engine(reset_wakes_writer); }
TEST_CASE("a slow reader pauses its writer") { on_every_engine(slow_reader); }
TEST_CASE("nobody listening is a refusal") { on_every_engine(refused); }
TEST_CASE("a connect that hangs ends with its deadline") { on_every_engine(connect_cancelled); }
TEST_CASE("a closed listener ends its accept and refuses") { on_every_engine(listener_close); }
TEST_CASE("an accepted connection knows its addresses") { on_every_engine(addresses); }
TEST_CASE("aborting at any turn leaves nothing behind") { on_every_engine(cancel_at_every_step); }
TEST_CASE("readers that stay away starve nobody") { on_every_engine(stuck_readers_starve_nobody); }
TEST_CASE("a stream may be destroyed while the kernel receives for it") { on_every_engine(destroyed_while_receiving); }
TEST_CASE("running out of descriptors pauses accepting") { on_every_engine(out_of_descriptors, true); }
TEST_CASE("two thousand connections at once") {
  on_every_engine([](Engine& engine) { return many_connections(engine, 2000); });
}

TEST_CASE("slices outlive their stream and their loop") {
  for (const auto& name : engine_names()) {
    INFO("engine " << name);
    std::vector<BufferChain> kept;
    {
      auto engine = make_engine(name);
      engine->run(hold_slices_and_destroy(*engine, kept));
    }
    for (const auto& chain : kept) CHECK(chain.to_string() == std::string(chain.size(), 'f'));
  }
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
