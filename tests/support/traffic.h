// Connections, senders and receivers for tests that run on every engine.
#pragma once

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <string>

#include "lib/async/scope.h"
#include "lib/base/random.h"
#include "lib/io/stream.h"
#include "tests/support/engine.h"

namespace weft::testing {

inline const SocketAddress kLoopback(IpAddress::loopback(false), 0);

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

inline BufferChain random_chain(Random& random, std::size_t size, std::size_t slice_max) {
  BufferChain chain;
  while (chain.size() < size) {
    std::string part(1 + random.below(std::min(slice_max, size - chain.size())), 0);
    for (auto& character : part) character = static_cast<char>(random.next());
    chain.append(Buffer::copy_of(part));
  }
  return chain;
}

inline Task<void> echo(io::Stream& stream, bool& ok) {
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

inline Task<void> send_random(io::Stream& stream, std::uint64_t seed, std::size_t total, std::size_t slice_max,
                              Digest& digest, bool& ok) {
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

inline Task<Result<void>> receive_all(io::Stream& stream, Digest& digest) {
  for (;;) {
    auto data = co_await stream.read(256 * 1024);
    if (!data) co_return fail(std::move(data).error());
    if (data->empty()) co_return Result<void>{};
    digest.add(*data);
    stream.consumed(data->size());
  }
}

struct Pair {
  io::StreamPtr client;
  io::StreamPtr server;
};

inline Task<void> accept_one(io::Listener& listener, io::StreamPtr& out) {
  auto accepted = co_await listener.accept({});
  if (accepted) out = std::move(accepted->stream);
}

inline Task<Pair> make_pair(Engine& engine) {
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

// Lets the engine do whatever it can do without further input: before a look at what must not happen, which nothing can
// announce. What is to happen is waited for (tests/support/count.h).
inline Task<void> settle(Engine& engine) {
  auto slept = co_await sleep_for(engine.loop(), std::chrono::milliseconds(50), {});
  (void)slept;
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

}  // namespace weft::testing
