// Peers that waste what a connection is made of, and the honest ones that look like them: resets, header blocks, control.
#include "lib/http2/test_hostile.h"

using namespace weft;
using namespace weft::http2;

TEST_CASE("rapid reset: the connection ends after the burst, and requests taken back at once are never handled") {
  Hostile h;
  REQUIRE(h.send(h2raw::hello()));
  // Both frames in one piece: the request is gone before its turn.
  const auto sent = flood(h, 5000, [](std::size_t i) { return h2raw::connect(id(i)) + h2raw::reset(id(i)); });
  CHECK(sent == kResetBurst);
  CHECK(h.handled == 0);
  check_breach(h, Breach::kResets);
}

TEST_CASE("resets that follow the dial count as well, the places of streams stay taken until their work has ended") {
  Hostile h;
  h.answer = false;  // dials that never end
  REQUIRE(h.send(h2raw::hello()));
  const auto sent =
      flood(h, 5000, [&](std::size_t i) { return (i > 0 ? h2raw::reset(id(i - 1)) : "") + h2raw::connect(id(i)); });
  CHECK(sent <= kResetBurst);
  CHECK(h.handled <= 2 * Settings().max_concurrent_streams);
  check_breach(h, Breach::kResets);
}

TEST_CASE("who waits for a dial hears that its stream was reset") {
  Hostile h;
  h.answer = false;
  REQUIRE(h.send(h2raw::hello() + h2raw::connect(1)));
  REQUIRE(h.held.size() == 1);
  bool lost = false;
  h.held[0]->on_lost([&lost] { lost = true; });
  REQUIRE(h.send(h2raw::reset(1)));
  CHECK(lost);
  bool at_once = false;
  h.held[0]->on_lost([&at_once] { at_once = true; });
  CHECK(at_once);
}

TEST_CASE("a busy client may reset as often as it likes when its streams carried something") {
  Hostile h;
  REQUIRE(h.send(h2raw::hello()));
  const auto sent = flood(h, 3000, [&](std::size_t i) {
    h.drop();
    return (i > 0 ? h2raw::reset(id(i - 1)) : "") + h2raw::connect(id(i)) + h2raw::frame(h2raw::kData, 0, id(i), "GET /");
  });
  CHECK(sent == 3000);
  CHECK(h.taken == 5 * 3000);
  CHECK_FALSE(h.connection->breach());
}

TEST_CASE("clients that give up now and then are not hostile: resets are earned back with time") {
  Hostile h;
  REQUIRE(h.send(h2raw::hello()));
  for (std::size_t i = 0; i < 2000; ++i) {
    REQUIRE(h.send(h2raw::connect(id(i)) + h2raw::reset(id(i))));
    if (i % 30 == 29) {
      h.loop.advance(1s);
      for (const auto& frame : h2raw::parse(std::exchange(h.answered, {})))
        if (frame.type == h2raw::kPing && !(frame.flags & h2raw::kAck))
          REQUIRE(h.send(h2raw::frame(h2raw::kPing, h2raw::kAck, 0, frame.payload)));
    }
  }
  CHECK_FALSE(h.connection->breach());
}

TEST_CASE("resets that a peer provokes from us are counted as its own") {
  struct Way {
    const char* name;
    std::function<std::string(std::uint32_t)> provoke;
  };
  const Way ways[] = {
      {"a window beyond its end",
       [](std::uint32_t id) { return h2raw::connect(id) + h2raw::window_update(id, 0x7fffffff); }},
      {"data after the end",
       [](std::uint32_t id) {
         return h2raw::connect(id) + h2raw::frame(h2raw::kData, h2raw::kEndStream, id) +
                h2raw::frame(h2raw::kData, 0, id, "x");
       }},
      {"a malformed request",
       [](std::uint32_t id) {
         return h2raw::frame(h2raw::kHeaders, h2raw::kEndHeaders, id, h2raw::literal(":method", "CONNECT"));
       }},
      {"fields beyond the limit",
       [](std::uint32_t id) {
         std::string block = h2raw::connect_block();
         for (int i = 0; i < 80; ++i) block += h2raw::literal("x-filler", "y");
         return h2raw::frame(h2raw::kHeaders, h2raw::kEndHeaders, id, block);
       }},
  };
  std::size_t counted = 0;
  for (const auto& way : ways) {
    INFO(way.name);
    Hostile h;
    h.answer = false;
    REQUIRE(h.send(h2raw::hello()));
    const auto sent = flood(h, 5000, [&](std::size_t i) {
      h.drop();
      return way.provoke(id(i));
    });
    CHECK(sent <= kResetBurst + 1);
    CHECK(h.count(h2raw::kRstStream) <= kResetBurst + 1);
    CHECK(h.handled <= kResetBurst + 1);
    // Some ways are errors of the connection at once.
    if (h.connection->breach()) {
      ++counted;
      check_breach(h, Breach::kResets);
    }
    h.loop.advance(5s);
    CHECK_FALSE(h.outcome);
  }
  CHECK(counted >= 1);
}

TEST_CASE("requests that are refused one after the other end the connection, others that carry bytes pay for them") {
  const auto refuse_all = [](Hostile& h) {
    for (auto& stream : h.held) REQUIRE(stream->respond({{":status", "401"}}, Stream::Body::kNone));
    h.held.clear();
  };
  {
    Hostile h;
    h.answer = false;
    REQUIRE(h.send(h2raw::hello()));
    const auto sent = flood(h, 20'000, [&](std::size_t i) {
      refuse_all(h);
      return h2raw::connect(id(i));
    });
    CHECK(sent >= kWasteBurst / kRefusedCost);
    CHECK(sent <= kWasteBurst / kRefusedCost + 2);
    check_breach(h, Breach::kNoProgress);
  }
  for (const bool busy : {true, false}) {
    Hostile h;
    REQUIRE(h.send(h2raw::hello() + h2raw::connect(id(0))));
    auto tunnel = std::move(h.held);  // goes on beside them
    h.held.clear();
    h.answer = false;
    const std::string bytes(100, 'x');
    for (std::size_t i = 1; i < 12'000; ++i) {
      INFO(i);
      if (busy && i % 60 == 0) REQUIRE(h.send(h2raw::frame(h2raw::kData, 0, id(0), bytes)));
      if (!busy && i % 100 == 0) {  // a hundred a second
        h.loop.advance(1s);
        for (const auto& frame : h2raw::parse(std::exchange(h.answered, {})))
          if (frame.type == h2raw::kPing && !(frame.flags & h2raw::kAck))
            REQUIRE(h.send(h2raw::frame(h2raw::kPing, h2raw::kAck, 0, frame.payload)));
      }
      REQUIRE(h.send(h2raw::connect(id(i))));
      refuse_all(h);
    }
    CHECK_FALSE(h.connection->breach());
    tunnel[0]->abort(io::AbortReason::kCancel);
    h.loop.run_until_idle();
    tunnel.clear();
  }
}

TEST_CASE("headers for streams that are gone end the connection after a burst, those that cross our own reset do not") {
  const auto trailers = [](std::uint32_t id) {
    return h2raw::frame(h2raw::kHeaders, h2raw::kEndHeaders | h2raw::kEndStream, id, h2raw::literal("x", "y"));
  };
  constexpr std::size_t kAtOnce = kWasteBurst / kUnwantedHeadersCost;
  {
    INFO("passed over: a later stream was opened first");
    Hostile h;
    REQUIRE(h.send(h2raw::hello() + h2raw::connect(101)));
    CHECK(flood(h, 5000, [](std::size_t i) { return h2raw::connect(id(i % 50)); }) == kAtOnce);
    CHECK(h.handled == 1);
    check_breach(h, Breach::kNoProgress);
  }
  {
    INFO("gone by our reset");
    Hostile h;
    REQUIRE(h.send(h2raw::hello() + h2raw::connect(1)));
    h.drop();
    CHECK(flood(h, 5000, [&](std::size_t) { return trailers(1); }) == kAtOnce);
    check_breach(h, Breach::kNoProgress);
  }
  {
    INFO("being reset: our answer has not left yet");
    Hostile h;
    REQUIRE(h.send(h2raw::hello()));
    const auto sent = flood(h, 5000, [&](std::size_t i) {
      std::string piece = h2raw::frame(h2raw::kHeaders, h2raw::kEndHeaders, id(i), h2raw::literal(":method", "CONNECT"));
      for (int j = 0; j < 10; ++j) piece += trailers(id(i));
      return piece;
    });
    CHECK(sent <= kAtOnce / 10);
    check_breach(h, Breach::kNoProgress);
  }
  {
    INFO("beyond our GOAWAY");
    Hostile h;
    REQUIRE(h.send(h2raw::hello() + h2raw::connect(1)));
    h.connection->shutdown();
    h.loop.run_until_idle();
    for (const auto& frame : h.frames())
      if (frame.type == h2raw::kPing) REQUIRE(h.send(h2raw::frame(h2raw::kPing, h2raw::kAck, 0, frame.payload)));
    h.answered.clear();
    CHECK(flood(h, 5000, [](std::size_t i) { return h2raw::connect(id(i + 1)); }) == kAtOnce);
    CHECK(h.handled == 1);
    check_breach(h, Breach::kNoProgress);
  }
  {
    INFO("answers to a request that was taken back");
    Hostile h({}, Role::kClient);
    auto stream = h.connection->open({{":method", "CONNECT"}, {":authority", "a:1"}}, Stream::Body::kFollows);
    REQUIRE(stream);
    REQUIRE(h.send(h2raw::settings()));
    (*stream)->abort(io::AbortReason::kCancel);
    CHECK(flood(h, 5000, [](std::size_t) { return h2raw::frame(h2raw::kHeaders, h2raw::kEndHeaders, 1, "\x88"); }) ==
          kAtOnce);
    check_breach(h, Breach::kNoProgress);
  }
  Hostile honest;  // two hundred streams that we end at once, while trailers of each are under way
  std::string requests = h2raw::hello(), late;
  for (std::size_t i = 0; i < 200; ++i) requests += h2raw::connect(id(i));
  for (std::size_t i = 0; i < 200; ++i) late += trailers(id(i));
  REQUIRE(honest.send(requests));
  honest.drop();
  REQUIRE(honest.send(late + late + h2raw::connect(id(200))));
  CHECK(honest.handled == 201);
  CHECK_FALSE(honest.connection->breach());
}

TEST_CASE("interim responses without end are left, a few before the answer are passed over") {
  const std::string interim = h2raw::frame(h2raw::kHeaders, h2raw::kEndHeaders, 1, h2raw::literal(":status", "100"));
  for (const bool endless : {true, false}) {
    Hostile h({}, Role::kClient);
    auto stream = h.connection->open({{":method", "CONNECT"}, {":authority", "a:1"}}, Stream::Body::kFollows);
    REQUIRE(stream);
    REQUIRE(h.send(h2raw::settings()));
    if (endless) {
      CHECK(flood(h, 5000, [&](std::size_t) { return interim; }) == kWasteBurst / kUnwantedHeadersCost);
      check_breach(h, Breach::kNoProgress);
    } else {
      REQUIRE(h.send(interim + interim + interim + h2raw::frame(h2raw::kHeaders, h2raw::kEndHeaders, 1, "\x88")));
    }
    auto response = h.loop.run((*stream)->response({}));
    CHECK(response.has_value() == !endless);
  }
}

TEST_CASE("header blocks without end are cut off after eight continuations, and after as many bytes as a request may have") {
  {
    Hostile h;
    REQUIRE(h.send(h2raw::hello() + h2raw::frame(h2raw::kHeaders, 0, 1, h2raw::connect_block())));
    const auto sent =
        flood(h, 5000, [](std::size_t) { return h2raw::frame(h2raw::kContinuation, 0, 1, h2raw::literal("x", "y")); });
    CHECK(sent <= kContinuationsMax);
    check_breach(h, Breach::kHeaderBlock);
  }
  {
    Hostile h;
    REQUIRE(h.send(h2raw::hello() + h2raw::frame(h2raw::kHeaders, 0, 1, h2raw::connect_block())));
    // The length alone decides, before a byte of it is there.
    CHECK_FALSE(h.send(h2raw::frame_header(h2raw::kContinuation, 0, 1, 1 << 20)));
    check_breach(h, Breach::kHeaderBlock);
  }
  Hostile honest;  // a request in eight continuations
  std::string request = h2raw::frame(h2raw::kHeaders, 0, 1, h2raw::connect_block());
  for (int i = 0; i < 8; ++i)
    request += h2raw::frame(h2raw::kContinuation, i == 7 ? h2raw::kEndHeaders : 0, 1, h2raw::literal("x", "y"));
  CHECK(honest.send(h2raw::hello() + request));
  CHECK(honest.handled == 1);
}

TEST_CASE("a header block that does not come to its end is given five seconds, an idle tunnel for ever") {
  Hostile h;
  REQUIRE(h.send(h2raw::hello() + h2raw::frame(h2raw::kHeaders, 0, 1, h2raw::connect_block())));
  h.loop.advance(4s);
  CHECK_FALSE(h.connection->ending());
  h.loop.advance(2s);
  check_breach(h, Breach::kHeaderTimeout);

  Hostile idle;
  REQUIRE(idle.send(h2raw::hello() + h2raw::connect(1)));
  for (int i = 0; i < 1000; ++i) {
    idle.loop.advance(9s);
    for (const auto& frame : h2raw::parse(std::exchange(idle.answered, {})))
      if (frame.type == h2raw::kPing && !(frame.flags & h2raw::kAck))
        REQUIRE(idle.send(h2raw::frame(h2raw::kPing, h2raw::kAck, 0, frame.payload)));
  }
  CHECK_FALSE(idle.connection->ending());
}

TEST_CASE("a small block that unpacks to much more costs one stream, tables resized for ever stay within what we offered") {
  Hostile h;
  std::string bomb = h2raw::connect_block() + h2raw::indexed_literal("x-bomb", std::string(3000, 'b'));
  for (int i = 0; i < 8000; ++i) bomb += '\xbe';  // the newest entry of the table, again
  REQUIRE(bomb.size() < Settings().max_header_list);
  REQUIRE(h.send(h2raw::hello() + h2raw::frame(h2raw::kHeaders, h2raw::kEndHeaders, 1, bomb)));
  CHECK(h.handled == 0);
  CHECK(h.count(h2raw::kRstStream) == 1);
  // Up to what we offered a table may be resized at a block's start, as often as fits, and filled again each time.
  std::string churn;
  for (int i = 0; i < 100; ++i) churn += h2raw::hpack_integer(0x20, 5, 0) + h2raw::hpack_integer(0x20, 5, kHeaderTableSize);
  churn += h2raw::connect_block();
  for (int i = 0; i < 3; ++i) churn += h2raw::indexed_literal("x-filler", std::string(1500, 'f'));
  std::size_t sent = 0, received = 0;
  h.answer = false;
  for (std::size_t i = 1; i <= 1000; ++i) {
    h.drop();
    // Ours as well: the peer says that it takes a larger one, then none at all.
    if (i % 50 == 0) REQUIRE(h.send(h2raw::settings({{1, i % 100 == 0 ? 0 : 1u << 30}})));
    REQUIRE(h.send(h2raw::frame(h2raw::kHeaders, h2raw::kEndHeaders, id(i), churn)));
    REQUIRE(h.held.size() == 1);
    REQUIRE(h.held[0]->respond({{":status", "200"}, {"x-answer", std::string(1000, 'a') + std::to_string(i)}},
                               Stream::Body::kFollows));
    h.loop.run_until_idle();
    received = std::max(received, h.connection->session().header_tables().received);
    sent = std::max(sent, h.connection->session().header_tables().sent);
  }
  CHECK(h.handled == 1000);
  CHECK(received > kHeaderTableSize / 2);
  CHECK(received <= kHeaderTableSize);
  CHECK(sent > kHeaderTableSize / 2);
  CHECK(sent <= kHeaderTableSize);
  // Beyond it is an error of compression.
  h.send(h2raw::frame(h2raw::kHeaders, h2raw::kEndHeaders, id(1001),
                      h2raw::hpack_integer(0x20, 5, kHeaderTableSize + 1) + h2raw::connect_block()));
  CHECK(h.goaway() == 9u);  // COMPRESSION_ERROR
  CHECK(h.handled == 1000);
}

TEST_CASE("floods of control frames end the connection, what keeps a connection going does not") {
  struct Kind {
    const char* name;
    std::string piece;
    std::size_t most;
  };
  const Kind kinds[] = {
      {"PING", h2raw::ping(), kControlBurst},
      {"PING answers nobody asked for", h2raw::frame(h2raw::kPing, h2raw::kAck, 0, "12345678"), kControlBurst},
      {"SETTINGS", h2raw::settings({{4, 65'535}}), kControlBurst / kSettingsCost},
      {"PRIORITY", h2raw::frame(h2raw::kPriority, 0, 1, std::string("\0\0\0\0\1", 5)), kControlBurst},
      {"WINDOW_UPDATE", h2raw::window_update(0, 1), kControlBurst},
      {"unknown frames", h2raw::frame(h2raw::kUnknown, 0, 0, "?"), kControlBurst},
  };
  for (const auto& kind : kinds) {
    INFO(kind.name);
    Hostile h;
    REQUIRE(h.send(h2raw::hello() + h2raw::connect(1)));
    const auto sent = flood(h, 5000, [&](std::size_t) { return kind.piece; });
    CHECK(sent <= kind.most);
    check_breach(h, Breach::kControlFrames);
    CHECK(h.count(h2raw::kPing) <= kControlBurst);
  }
  Hostile honest;  // a ping and two window updates for every read of a busy stream
  REQUIRE(honest.send(h2raw::hello() + h2raw::connect(1)));
  for (int i = 0; i < 20'000; ++i) {
    Result<void> ignored;
    honest.answered.clear();
    struct Reply {
      static Task<void> run(Stream& stream) {
        auto sent = co_await stream.write(BufferChain(Buffer::literal("pong")));
        (void)sent;
      }
    };
    honest.scope.spawn(Reply::run(*honest.held[0]));
    honest.loop.run_until_idle();
    REQUIRE(honest.send(h2raw::window_update(0, 4) + h2raw::window_update(1, 4) + h2raw::ping() +
                        h2raw::frame(h2raw::kData, 0, 1, "ping")));
  }
  CHECK(honest.taken == 80'000);
}

TEST_CASE("answers pile up to a bound for a peer that does not read them") {
  ManualLoop loop;
  Scope scope(loop);
  auto [left, right] = io::make_pipe(loop, 4096);  // full at once
  auto server = Connection::create(loop, Role::kServer, {}, std::move(right));
  Result<void> outcome;
  scope.spawn(drive(server, scope.token(), outcome));
  bool written = false;
  std::string pings = h2raw::hello();
  for (int i = 0; i < 700; ++i) pings += h2raw::ping();
  scope.spawn(write_bytes(*left, pings, written));
  loop.run_until_idle();
  CHECK(server->breach() == Breach::kControlFrames);
  left->abort(io::AbortReason::kCancel);
  loop.run(scope.join());
  REQUIRE_FALSE(outcome);
}

TEST_CASE("settings beyond 32 entries, windows beyond their end and empty updates end the connection") {
  {
    Hostile h;
    std::vector<std::pair<std::uint16_t, std::uint32_t>> many(33, {0x7777, 1});
    CHECK_FALSE(h.send(h2raw::kPreface + h2raw::settings(many)));
    check_breach(h, Breach::kControlFrames);
  }
  {
    Hostile h;
    h.send(h2raw::hello() + h2raw::window_update(0, 0x7fffffff));
    CHECK(h.goaway() == 3u);  // FLOW_CONTROL_ERROR
    h.peer->abort(io::AbortReason::kCancel);
    h.loop.run_until_idle();
    REQUIRE_FALSE(h.outcome);
    CHECK(h.outcome.error().code() == ErrorCode::kProtocol);
  }
  {
    Hostile h;
    h.send(h2raw::hello() + h2raw::connect(1) + h2raw::settings({{4, 0x80000000u}}));
    CHECK(h.goaway() == 3u);
  }
  Hostile h;
  h.send(h2raw::hello() + h2raw::window_update(0, 0));
  CHECK(h.goaway() == 1u);
}

TEST_CASE("a server that floods its client is left as well") {
  Hostile h({}, Role::kClient);
  auto stream = h.connection->open({{":method", "CONNECT"}, {":authority", "a:1"}}, Stream::Body::kFollows);
  REQUIRE(stream);
  REQUIRE(h.send(h2raw::settings()));
  CHECK(flood(h, 5000, [](std::size_t) { return h2raw::ping(); }) <= kControlBurst);
  CHECK(h.connection->breach() == Breach::kControlFrames);
  auto response = h.loop.run((*stream)->response({}));
  CHECK_FALSE(response);
}

TEST_CASE("frames and requests that a tunnel server has no use for are refused") {
  auto error_of = [](const std::string& bytes) {
    Hostile h;
    h.send(h2raw::hello() + bytes);
    return h.goaway().value_or(0);
  };
  CHECK(error_of(h2raw::frame(h2raw::kPushPromise, h2raw::kEndHeaders, 1, h2raw::big_endian(2, 4))) == 1);
  CHECK(error_of(h2raw::frame(h2raw::kData, 0, 1, "x")) == 1);           // DATA on a stream that was never opened
  CHECK(error_of(h2raw::frame(h2raw::kSettings, h2raw::kAck, 0)) == 1);  // an answer too many
  CHECK(error_of(h2raw::connect(2)) == 1);                               // a server's stream number
  CHECK(error_of(h2raw::reset(7)) == 1);                                 // of a stream that was never opened
  CHECK(error_of(h2raw::frame(h2raw::kPing, 0, 0, "123")) == 6);         // FRAME_SIZE_ERROR
  CHECK(error_of(h2raw::connect(1)) == 0);
}

TEST_CASE("a GOAWAY takes back what is beyond its last stream and nothing else, however often it is said") {
  Hostile h({}, Role::kClient);
  std::vector<StreamPtr> streams;
  for (int i = 0; i < 3; ++i) {
    auto stream = h.connection->open({{":method", "CONNECT"}, {":authority", "a:1"}}, Stream::Body::kFollows);
    REQUIRE(stream);
    streams.push_back(std::move(*stream));
  }
  auto goaway = [](std::uint32_t last) {
    return h2raw::frame(h2raw::kGoaway, 0, 0, h2raw::big_endian(last, 4) + h2raw::big_endian(0, 4));
  };
  REQUIRE(h.send(h2raw::settings() + goaway(1)));
  for (int i = 0; i < 10; ++i) h.send(goaway(1));
  for (int i = 1; i < 3; ++i) {
    auto response = h.loop.run(streams[static_cast<std::size_t>(i)]->response({}));
    REQUIRE_FALSE(response);
    CHECK(response.error().code() == ErrorCode::kUnavailable);  // nothing of it was done: it may be tried elsewhere
  }
  h.send(h2raw::frame(h2raw::kHeaders, h2raw::kEndHeaders, 1, "\x88") + h2raw::frame(h2raw::kData, 0, 1, "still here"));
  auto response = h.loop.run(streams[0]->response({}));
  CHECK(response);
  auto data = h.loop.run(streams[0]->read(100));
  REQUIRE(data);
  CHECK(data->to_string() == "still here");
  streams[0]->consumed(data->size());
  CHECK_FALSE(h.connection->open({{":method", "CONNECT"}, {":authority", "a:1"}}, Stream::Body::kFollows));
  // Taking back a promise is a breach of the protocol.
  h.send(goaway(5));
  h.loop.advance(5s);
  CHECK_FALSE(h.outcome);
  streams.clear();
}
