// Peers that waste DATA and windows, and the honest ones that look like them.
#include "lib/http2/test_hostile.h"

using namespace weft;
using namespace weft::http2;

TEST_CASE("data without bytes: a hundred in a row end the connection, between others they are forgiven") {
  const std::string empty = h2raw::frame(h2raw::kData, 0, 1);
  const std::string padding = h2raw::frame(h2raw::kData, h2raw::kPadded, 1, std::string(1, '\5') + std::string(5, '\0'));
  for (const auto& piece : {empty, padding}) {
    Hostile h;
    REQUIRE(h.send(h2raw::hello() + h2raw::connect(1)));
    CHECK(flood(h, 5000, [&](std::size_t) { return piece; }) <= 101);
    check_breach(h, Breach::kNoProgress);

    Hostile honest;
    REQUIRE(honest.send(h2raw::hello() + h2raw::connect(1)));
    CHECK(flood(honest, 1000, [&](std::size_t) { return piece + h2raw::frame(h2raw::kData, 0, 1, "x"); }) == 1000);
  }
}

TEST_CASE("data for a stream that we ended is in flight legitimately, not for ever") {
  Hostile h;
  REQUIRE(h.send(h2raw::hello() + h2raw::connect(1)));
  h.held[0]->abort(io::AbortReason::kReset);
  h.loop.run_until_idle();
  std::string window;
  for (int i = 0; i < 4096; ++i) window += h2raw::frame(h2raw::kData, 0, 1, std::string(1000, 'x'));
  REQUIRE(h.send(window));
  CHECK_FALSE(h.connection->breach());
  std::string crumbs;
  for (int i = 0; i < 4096; ++i) crumbs += h2raw::frame(h2raw::kData, 0, 1, "x");
  CHECK(flood(h, 100, [&](std::size_t) { return crumbs; }) <= kWasteBurst / 4096);
  check_breach(h, Breach::kNoProgress);
}

TEST_CASE("frames of one byte that nobody reads take no more memory than their bytes, and end the connection in the end") {
  Hostile h;
  h.read = false;
  REQUIRE(h.send(h2raw::hello() + h2raw::connect(1)));
  std::string crumbs;
  for (int i = 0; i < 1000; ++i) crumbs += h2raw::frame(h2raw::kData, 0, 1, "x");
  for (int i = 0; i < 100; ++i) REQUIRE(h.send(crumbs));
  CHECK(h.connection->unconsumed() == 100'000);
  CHECK(h.connection->slices_held() <= 16 + 100'000 / 4096 + 1);
  CHECK(flood(h, 100, [&](std::size_t) { return crumbs; }) <= 32);
  check_breach(h, Breach::kTinyFrames);
}

TEST_CASE("one byte at a time, read as it comes, goes on for ever and arrives in order") {
  Hostile h;
  REQUIRE(h.send(h2raw::hello() + h2raw::connect(1)));
  std::string crumbs;
  for (int i = 0; i < 1000; ++i) crumbs += h2raw::frame(h2raw::kData, 0, 1, "x");
  for (int i = 0; i < 500; ++i) REQUIRE(h.send(crumbs));
  CHECK(h.taken == 500'000);
  CHECK(h.connection->session().tiny_unread() == 0);

  Hostile late;  // a reader that comes late gets the same bytes
  late.read = false;
  REQUIRE(late.send(h2raw::hello() + h2raw::connect(1)));
  std::string expected;
  for (int i = 0; i < 20'000; ++i) {
    const std::string piece(i % 7 == 0 ? 3000 : 1, static_cast<char>('a' + i % 26));
    if (expected.size() + piece.size() > 3'000'000) break;
    expected += piece;
    if (i % 100 == 0) REQUIRE(late.send(""));
    bool written = false;
    late.scope.spawn(write_bytes(*late.peer, h2raw::frame(h2raw::kData, 0, 1, piece), written));
  }
  late.loop.run_until_idle();
  std::string got;
  while (got.size() < expected.size()) {
    auto data = late.loop.run(late.held[0]->read(5000));
    REQUIRE(data);
    late.held[0]->consumed(data->size());
    got += data->to_string();
  }
  CHECK(got == expected);
}

TEST_CASE("one peer's frames are handled in portions, so that others have their turns in between") {
  Hostile h;
  REQUIRE(h.send(h2raw::hello() + h2raw::connect(1)));
  // In portions as TLS hands them up.
  BufferChain pieces;
  std::string crumbs;
  for (int i = 0; i < 500; ++i) crumbs += h2raw::frame(h2raw::kData, 0, 1, "x");
  for (int i = 0; i < 100; ++i) pieces.append(crumbs);
  struct Send {
    static Task<void> run(io::Stream& stream, BufferChain bytes) {
      auto written = co_await stream.write(std::move(bytes));
      (void)written;
    }
  };
  h.scope.spawn(Send::run(*h.peer, std::move(pieces)));
  // Another task of the loop counts its turns until the flood is through.
  std::size_t turns = 0;
  struct Other {
    static Task<void> run(Loop& loop, std::size_t& turns, const std::size_t& taken) {
      while (taken < 50'000) {
        ++turns;
        co_await yield_to(loop);
      }
    }
  };
  h.scope.spawn(Other::run(h.loop, turns, h.taken));
  h.loop.run_until_idle();
  CHECK(h.taken == 50'000);
  CHECK(turns >= 10);
}

TEST_CASE("a peer that never opens its window holds a bounded part of what is sent to it, its other streams go on") {
  Hostile h;
  h.read = false;
  // Every stream's window is closed; one is opened by hand.
  REQUIRE(h.send(h2raw::kPreface + h2raw::settings({{4, 0}}) + h2raw::frame(h2raw::kSettings, h2raw::kAck, 0)));
  for (std::size_t i = 0; i < 10; ++i) REQUIRE(h.send(h2raw::connect(id(i))));
  REQUIRE(h.held.size() == 10);
  struct Push {  // an application with much to say
    static Task<void> run(Stream& stream, std::size_t& taken) {
      for (;;) {
        auto written = co_await stream.write(BufferChain(Buffer::copy_of(std::string(16'000, 'x'))));
        if (!written) co_return;
        taken += 16'000;
      }
    }
  };
  std::vector<std::size_t> taken(10);
  for (std::size_t i = 0; i < 10; ++i) h.scope.spawn(Push::run(*h.held[i], taken[i]));
  h.loop.run_until_idle();
  for (const auto bytes : taken) CHECK(bytes <= Stream::kQueuedMax);
  CHECK(h.count(h2raw::kData) == 0);
  for (int i = 0; i < 50; ++i) REQUIRE(h.send(h2raw::window_update(1, 16'000) + h2raw::window_update(0, 16'000)));
  CHECK(taken[0] >= 50 * 16'000);
  CHECK(taken[1] <= Stream::kQueuedMax);
  // Flipping the initial window between its ends takes what SETTINGS may cost, and no longer.
  CHECK(flood(h, 5000, [](std::size_t i) { return h2raw::settings({{4, i % 2 ? 0 : 1}}); }) <=
        kControlBurst / kSettingsCost + 400);
  check_breach(h, Breach::kControlFrames);
}
