// What io::Stream and the pump promise, checked on every engine; for io::Network see engines_network_test.cc.
#include <catch2/catch_test_macros.hpp>

#include "lib/io/pump.h"
#include "tests/support/traffic.h"

using namespace weft;
using namespace weft::io;
using namespace weft::testing;
using namespace std::chrono_literals;

namespace {

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

Task<void> read_one(Stream& stream, std::optional<Result<BufferChain>>& out) { out = co_await stream.read(1000); }

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

Task<void> backlog_of_a_reader(Engine& engine) {
  auto pair = co_await make_pair(engine);
  REQUIRE(pair.client);
  auto greeted = co_await pair.client->write(BufferChain(Buffer::copy_of("hello")));
  CHECK(greeted);
  auto hello = co_await pair.server->read(100);
  REQUIRE(hello);
  co_await settle(engine);
  CHECK(!pair.client->backlog().waiting);
  Scope scope(engine.loop());
  std::size_t bytes = 0;
  std::optional<Error> error;
  constexpr std::size_t kTotal = 30'000'000;
  scope.spawn(fill(*pair.client, kTotal, bytes, error));
  auto first = co_await pair.server->read(1);
  REQUIRE(first);
  std::size_t got = first->size();
  co_await settle(engine);
  // Until the kernel's buffers are full.
  auto stopped = pair.client->backlog();
  for (bool full = false; !full;) {
    const auto before = stopped;
    co_await settle(engine);
    stopped = pair.client->backlog();
    full = stopped.waiting && stopped.moved == before.moved;
  }
  CHECK(bytes < kTotal);
  while (got < kTotal / 2) {
    auto data = co_await pair.server->read(100'000);
    REQUIRE(data);
    got += data->size();
  }
  CHECK(pair.client->backlog().moved - stopped.moved >= 4096);
  while (got < kTotal) {
    auto data = co_await pair.server->read(100'000);
    REQUIRE(data);
    got += data->size();
  }
  co_await scope.join();
  CHECK(!error);
  co_await settle(engine);
  CHECK(!pair.client->backlog().waiting);
  pair.client->abort(AbortReason::kReset);
  CHECK(!pair.client->backlog().waiting);
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

Task<void> collect(Stream& stream, std::string& text, Result<void>& result) {
  for (;;) {
    auto data = co_await stream.read(1000);
    if (!data) result = fail(std::move(data).error());
    if (!data || data->empty()) co_return;
    text += data->to_string();
  }
}

Task<void> answer_and_reset(Engine& engine, Stream& stream, int turns) {
  for (int i = 0; i < turns; ++i) co_await yield_to(engine.loop());
  auto answered = co_await stream.write(BufferChain(Buffer::copy_of("413 too large")));
  CHECK(answered);
  stream.abort(AbortReason::kReset);
}

// A server answers an upload that it does not read and is gone: its answer comes through, whoever hears of the reset first.
Task<void> proxied_last_words(Engine& engine) {
  for (int turns = 1; turns < 60; ++turns) {
    auto front = co_await make_pair(engine);
    auto back = co_await make_pair(engine);
    REQUIRE(back.client);
    Scope scope(engine.loop());
    PumpCounters counters;
    PumpResult result;
    std::size_t sent = 0;
    std::optional<Error> ignored;
    std::string answer;
    Result<void> end;
    scope.spawn(run_pump(engine.loop(), *front.server, *back.client, counters, result));
    scope.spawn(fill(*front.client, std::size_t{1} << 40, sent, ignored));
    scope.spawn(collect(*front.client, answer, end));
    scope.spawn(answer_and_reset(engine, *back.server, turns));
    co_await scope.join();
    CHECK(result.reset);
    CHECK(answer == "413 too large");
    REQUIRE(!end);
    CHECK(end.error().code() == ErrorCode::kReset);
  }
}

}  // namespace

TEST_CASE("a pump passes on what a server said before it reset") { on_every_engine(proxied_last_words); }
TEST_CASE("a pump between two connections carries bytes and ends") { on_every_engine(proxied_both_ways); }
TEST_CASE("a pump passes resets on as resets") { on_every_engine(proxied_resets); }
TEST_CASE("bytes come back unchanged in both directions at once") { on_every_engine(echo_both_ways); }
TEST_CASE("thousands of tiny slices come back unchanged") { on_every_engine(echo_tiny_slices); }
TEST_CASE("one direction ends while the other goes on") { on_every_engine(half_close); }
TEST_CASE("a reset wakes both readers, and is not an end of stream") { on_every_engine(reset_wakes_reader); }
TEST_CASE("a reset wakes a blocked writer") { on_every_engine(reset_wakes_writer); }
TEST_CASE("a slow reader pauses its writer") { on_every_engine(slow_reader); }
TEST_CASE("aborting at any turn leaves nothing behind") { on_every_engine(cancel_at_every_step); }
TEST_CASE("a reader that stopped is told apart from a slow one, and from a connection in which nothing waits") {
  on_every_engine(backlog_of_a_reader);
}
TEST_CASE("readers that stay away starve nobody") { on_every_engine(stuck_readers_starve_nobody); }
TEST_CASE("a stream may be destroyed while the kernel receives for it") { on_every_engine(destroyed_while_receiving); }
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
