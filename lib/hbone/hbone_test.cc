#include <array>
#include <catch2/catch_test_macros.hpp>
#include <functional>

#include "lib/async/manual_loop.h"
#include "lib/hbone/accept.h"
#include "lib/hbone/pool.h"
#include "lib/hbone/test_tunnels.h"
#include "lib/http/fields.h"
#include "lib/io/pipe.h"
#include "lib/io/pump.h"
#include "tests/support/read_all.h"

using namespace weft;
using namespace weft::hbone;
using namespace std::chrono_literals;
using weft::hbone::testing::echo_tunnel;
using weft::testing::read_all;

namespace {

// More than a tunnel's window.
constexpr std::size_t kPlenty = 100'000;
http2::Settings small_windows() {
  http2::Settings settings;
  settings.stream_window = 64 * 1024;
  settings.connection_window = 256 * 1024;
  return settings;
}

// Its application takes nothing before `reads` is set, or sends a lot at once; else as echo_tunnel().
Task<void> slow_tunnel(IncomingTunnel tunnel, StopToken stop, Event& reads) {
  const auto authority = tunnel.request().authority;
  if (authority != "slow:1" && authority != "plenty:1") {
    co_await echo_tunnel(std::move(tunnel), stop);
    co_return;
  }
  auto stream = tunnel.accept("");
  if (!stream) co_return;
  if (authority == "slow:1") {
    auto woken = co_await reads.wait(stop);
    if (!woken) co_return;
    auto all = co_await read_all(**stream);
    (void)all;
  } else {
    BufferChain plenty(Buffer::copy_of(std::string(kPlenty, 'p')));
    auto sent = co_await (*stream)->write(std::move(plenty));
    (void)sent;
  }
  auto ended = co_await (*stream)->shutdown_write();
  (void)ended;
}

Task<void> serve_one(Loop& loop, http2::Settings settings, io::StreamPtr transport, StopToken drain, StopToken stop,
                     Event* reads = nullptr, std::vector<std::string>* problems = nullptr) {
  OnNoTunnel note = [problems](std::string_view problem) {
    if (problems) problems->emplace_back(problem);
  };
  TunnelHandler handler = echo_tunnel;
  if (reads)
    handler = [reads](IncomingTunnel tunnel, StopToken end) {
      return slow_tunnel(std::move(tunnel), std::move(end), *reads);
    };
  co_await serve(loop, settings, std::move(transport), std::move(handler), drain, stop, std::move(note));
}

struct World {
  explicit World(Pool::Options options = {})
      : pool(loop, std::move(options), [this](const PoolKey&, StopToken stop) { return dial(*this, stop); }) {}
  ~World() {
    loop.run(pool.close());
    scope.request_stop();
    loop.run(scope.join());
  }
  static Task<Result<Pool::Dialed>> dial(World& world, StopToken stop) {
    ++world.dials;
    ++world.dialing;
    world.dialing_most = std::max(world.dialing_most, world.dialing);
    auto slept = co_await sleep_for(world.loop, 10ms, stop);
    --world.dialing;
    if (!slept) co_return fail(std::move(slept).error());
    if (world.refuse) co_return fail(ErrorCode::kRefused, "connection refused");
    auto [left, right] = io::make_pipe(world.loop);
    if (world.dead) {
      left->abort(io::AbortReason::kReset);
      co_return Pool::Dialed{std::move(left), world.hold};
    }
    world.scope.spawn(serve_one(world.loop, world.server_settings, std::move(right), world.drain.token(),
                                world.scope.token(), &world.reads));
    co_return Pool::Dialed{std::move(left), world.hold};
  }
  Result<Tunnel> open(std::string authority = "10.0.0.1:80", PoolKey key = {}) {
    return loop.run(pool.open(std::move(key), build_request({.authority = std::move(authority)}), {}));
  }
  static Task<void> open_into(Pool& pool, std::vector<Result<Tunnel>>& out, std::string source = "") {
    // Named: GCC 12 destroys braced temporaries of an awaiting expression twice.
    PoolKey key;
    key.source_uid = std::move(source);
    TunnelRequest wanted;
    wanted.authority = "10.0.0.1:80";
    auto request = build_request(wanted);
    StopToken never;
    auto tunnel = co_await pool.open(std::move(key), std::move(request), never);
    out.push_back(std::move(tunnel));
  }
  std::string talk(Tunnel& tunnel, std::string text) {
    REQUIRE(loop.run(tunnel.stream->write(BufferChain(Buffer::copy_of(text)))));
    REQUIRE(loop.run(tunnel.stream->shutdown_write()));
    auto all = loop.run(read_all(*tunnel.stream));
    REQUIRE(all);
    return *all;
  }

  ManualLoop loop;
  Scope scope{loop};
  http2::Settings server_settings;
  Event reads{loop};  // applications that were slow begin to take what comes
  StopSource drain;
  bool refuse = false;
  bool dead = false;                                          // what is dialled has already ended
  const std::shared_ptr<int> hold = std::make_shared<int>();  // one owner more for each connection
  int dials = 0, dialing = 0, dialing_most = 0;
  Pool pool;
};

}  // namespace

TEST_CASE("a tunnel carries bytes and half-closes, and says who answered") {
  World world;
  auto tunnel = world.open();
  REQUIRE(tunnel);
  CHECK(tunnel->baggage == "k8s.cluster.name=c");
  CHECK(world.talk(*tunnel, "hello") == "10.0.0.1:80:hello");
}

TEST_CASE("a refusal names the status, and the connection serves the next tunnel") {
  World world;
  auto denied = world.open("denied:1");
  REQUIRE_FALSE(denied);
  CHECK(denied.error().message() == "http status: 401 Unauthorized");
  CHECK(denied.error().code() == ErrorCode::kDenied);
  auto broken = world.open("broken:1");
  REQUIRE_FALSE(broken);
  CHECK(broken.error().message() == "http status: 503 Service Unavailable");
  auto silent = world.open("silent:1");
  REQUIRE_FALSE(silent);
  CHECK(silent.error().code() == ErrorCode::kReset);
  auto tunnel = world.open();
  REQUIRE(tunnel);
  CHECK(world.talk(*tunnel, "x") == "10.0.0.1:80:x");
  CHECK(world.dials == 1);
}

TEST_CASE("tunnels of one key share a connection that is made once; a full one is joined by another and used again") {
  World world({.http2 = {}, .streams_max = 2});
  std::vector<Result<Tunnel>> tunnels;
  for (int i = 0; i < 5; ++i) world.scope.spawn(World::open_into(world.pool, tunnels));
  world.loop.advance(1s);
  REQUIRE(tunnels.size() == 5);
  for (auto& tunnel : tunnels) CHECK(tunnel);
  CHECK(world.dials == 3);
  CHECK(world.dialing_most == 1);
  tunnels.clear();
  world.loop.run_until_idle();
  for (int i = 0; i < 6; ++i) world.scope.spawn(World::open_into(world.pool, tunnels));
  world.loop.advance(1s);
  CHECK(tunnels.size() == 6);
  CHECK(world.dials == 3);
}

TEST_CASE("with one tunnel a connection every tunnel has its own, which later ones use again") {
  World world({.http2 = {}, .streams_max = 1});
  auto first = world.open(), second = world.open();
  REQUIRE(first);
  REQUIRE(second);
  CHECK(world.dials == 2);
  CHECK(world.talk(*first, "a") == "10.0.0.1:80:a");
  first->stream.reset();
  world.loop.run_until_idle();
  CHECK(world.open());
  CHECK(world.dials == 2);
}

TEST_CASE("a hundred tunnels of one source share one connection, of a hundred sources none, of three sources three") {
  auto dials = [](int tunnels, int sources) {
    World world({.http2 = {}, .streams_max = 1000});
    std::vector<Result<Tunnel>> opened;
    for (int i = 0; i < tunnels; ++i)
      world.scope.spawn(World::open_into(world.pool, opened, "source-" + std::to_string(i % sources)));
    world.loop.advance(1s);
    CHECK(opened.size() == static_cast<std::size_t>(tunnels));
    for (auto& tunnel : opened) CHECK(tunnel);
    return world.dials;
  };
  CHECK(dials(100, 1) == 1);
  CHECK(dials(100, 100) == 100);
  CHECK(dials(300, 3) == 3);
}

TEST_CASE("bytes that arrived before the pool went are read, then comes an error") {
  World world;
  auto tunnel = world.open("greeting:1");
  REQUIRE(tunnel);
  world.loop.run_until_idle();
  world.loop.run(world.pool.close());
  auto data = world.loop.run(tunnel->stream->read(3));
  REQUIRE(data);
  CHECK(data->to_string() == "wel");
  std::string rest;
  for (;;) {
    data = world.loop.run(tunnel->stream->read(100));
    if (!data || data->empty()) break;
    rest += data->to_string();
  }
  CHECK(rest == "come");
  CHECK_FALSE(data);
  const auto refused = world.open();
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message() == "pool draining");
}

TEST_CASE("the peer's stream limit counts when it is the smaller one") {
  World world;
  world.server_settings.max_concurrent_streams = 1;
  auto first = world.open();
  REQUIRE(first);
  auto second = world.open();
  REQUIRE(second);
  CHECK(world.dials == 2);
}

namespace {

Task<void> send_plenty(io::Stream& stream, bool& done) {
  BufferChain plenty(Buffer::copy_of(std::string(kPlenty, 'p')));
  auto sent = co_await stream.write(std::move(plenty));
  auto ended = co_await stream.shutdown_write();
  done = sent && ended;
}

// Four tunnels stand still on the world's only connection, of five that it may have. Tunnels get one of their own until
// `move` is called, then they share again.
void check_share_again(World& world, const std::function<void()>& move) {
  world.loop.run_until_idle();
  REQUIRE(world.dials == 1);
  auto apart = world.open();
  REQUIRE(apart);
  REQUIRE(world.dials == 2);
  CHECK(world.talk(*apart, "hello") == "10.0.0.1:80:hello");
  std::vector<Result<Tunnel>> others;  // with them the second connection is full
  for (int i = 0; i < 4; ++i) others.push_back(world.open());
  move();
  world.loop.run_until_idle();
  auto shared = world.open();
  REQUIRE(shared);
  CHECK(world.dials == 2);
  CHECK(world.talk(*shared, "again") == "10.0.0.1:80:again");
}

}  // namespace

TEST_CASE("where applications of the peer take nothing new tunnels go another way, and share again when they do") {
  World world({.http2 = {}, .streams_max = 5});
  world.server_settings = small_windows();
  std::vector<Tunnel> slow;
  std::array<bool, 4> done{};
  for (auto& sent : done) {
    auto tunnel = world.open("slow:1");
    REQUIRE(tunnel);
    slow.push_back(std::move(*tunnel));
    world.scope.spawn(send_plenty(*slow.back().stream, sent));
  }
  check_share_again(world, [&world] { world.reads.set(); });
  CHECK(done == std::array{true, true, true, true});
}

TEST_CASE("where our applications take nothing new tunnels go another way, and share again when they do") {
  World world({.http2 = small_windows(), .streams_max = 5});
  std::vector<Tunnel> slow;
  for (int i = 0; i < 4; ++i) {
    auto tunnel = world.open("plenty:1");
    REQUIRE(tunnel);
    slow.push_back(std::move(*tunnel));
  }
  check_share_again(world, [&] {
    for (auto& tunnel : slow) {
      auto all = world.loop.run(read_all(*tunnel.stream));
      REQUIRE(all);
      CHECK(all->size() == kPlenty);
    }
  });
}

TEST_CASE("whatever differs in the key keeps tunnels apart") {
  World world;
  const PoolKey base{.source_uid = "a",
                     .credential_generation = 1,
                     .destination_uid = "d",
                     .expected_identities = {"i"},
                     .hop = {},
                     .kind = HopKind::kWorkload};
  std::vector<PoolKey> keys(6, base);
  keys[1].source_uid = "b";
  keys[2].credential_generation = 2;
  keys[3].destination_uid = "e";
  keys[4].expected_identities = {"j"};
  keys[5].kind = HopKind::kWaypoint;
  for (const auto& key : keys) REQUIRE(world.open("x:1", key));
  CHECK(world.dials == 6);
  for (const auto& key : keys) REQUIRE(world.open("x:1", key));
  CHECK(world.dials == 6);
}

TEST_CASE("a destination that goes, or an old certificate, takes its connections out; open tunnels go on") {
  World world;
  PoolKey key{.source_uid = "a", .credential_generation = 1, .destination_uid = "d"};
  auto tunnel = world.open("x:1", key);
  REQUIRE(tunnel);
  world.pool.evict_destinations([](const std::string& uid) { return uid == "d"; });
  CHECK(world.pool.connections() == 0);
  CHECK(world.talk(*tunnel, "still") == "x:1:still");
  auto next = world.open("x:1", key);
  REQUIRE(next);
  CHECK(world.dials == 2);
  world.pool.evict_generations_before(2);
  CHECK(world.pool.connections() == 0);
  CHECK(world.talk(*next, "still") == "x:1:still");
}

TEST_CASE("a connection unused for the timeout is released, one in use is not") {
  World world({.http2 = {}, .unused_release_timeout = 60s});
  auto tunnel = world.open();
  REQUIRE(tunnel);
  world.loop.advance(200s);
  CHECK(world.pool.connections() == 1);
  CHECK(world.hold.use_count() == 2);
  tunnel->stream.reset();
  world.loop.advance(130s);
  CHECK(world.pool.connections() == 0);
  CHECK(world.hold.use_count() == 1);
}

TEST_CASE("a failed dial reaches its caller and the next one tries again") {
  World world;
  world.refuse = true;
  CHECK_FALSE(world.open());
  CHECK(world.pool.destinations() == 0);  // nothing is kept for what is not there
  world.refuse = false;
  CHECK(world.open());
  CHECK(world.dials == 2);
  CHECK(world.pool.destinations() == 1);
}

TEST_CASE("a connection that ends with its first write fails its tunnel, and the next one tries again") {
  World world;
  world.dead = true;
  CHECK_FALSE(world.open());
  CHECK(world.pool.connections() == 0);
  world.dead = false;
  CHECK(world.open());
  CHECK(world.dials == 2);
}

TEST_CASE("a peer that drains gets no new tunnels, its open ones finish") {
  World world;
  auto tunnel = world.open();
  REQUIRE(tunnel);
  world.drain.request_stop();
  world.loop.run_until_idle();
  world.drain = StopSource();
  CHECK(world.pool.connections() == 0);
  REQUIRE(world.open());
  CHECK(world.dials == 2);
  CHECK(world.talk(*tunnel, "bye") == "10.0.0.1:80:bye");
}

TEST_CASE("requests that are not CONNECT are refused before any handler") {
  World world;
  auto [left, right] = io::make_pipe(world.loop);
  std::vector<std::string> problems;
  world.scope.spawn(serve_one(world.loop, {}, std::move(right), {}, world.scope.token(), nullptr, &problems));
  auto client = http2::Connection::create(world.loop, http2::Role::kClient, {}, std::move(left));
  StopSource stop;
  struct Run {
    static Task<void> it(std::shared_ptr<http2::Connection> c, StopToken stop) {
      auto ended = co_await c->run(stop);
      (void)ended;
    }
  };
  world.scope.spawn(Run::it(client, stop.token()));
  {
    auto stream = client->open({{":method", "GET"}, {":scheme", "http"}, {":authority", "x"}, {":path", "/"}},
                               http2::Stream::Body::kNone);
    REQUIRE(stream);
    auto response = world.loop.run((*stream)->response({}));
    REQUIRE(response);
    CHECK(*http2::find(*response, ":status") == "400");
  }
  CHECK(problems == std::vector<std::string>{"expected method CONNECT, got GET"});
  stop.request_stop();
}

TEST_CASE("request fields say what was asked, and odd ones are ignored") {
  SeededRandom random(7);
  const auto trace = make_traceparent(random);
  CHECK(http::TraceParent::parse(trace));
  auto headers = build_request({.authority = "10.0.0.1:80",
                                .baggage = "k8s.namespace.name=a",
                                .client = *SocketAddress::parse("10.1.1.1:99"),
                                .service_host = "shop.a.svc",
                                .traceparent = trace,
                                .forwarded_network = {}});
  CHECK(*http2::find(headers, "forwarded") == "for=\"10.1.1.1:99\";host=shop.a.svc");
  auto parsed = parse_request(headers);
  CHECK(parsed.authority == "10.0.0.1:80");
  CHECK(parsed.baggage == "k8s.namespace.name=a");
  CHECK(parsed.service_host == "shop.a.svc");
  CHECK(*http2::find(headers, "traceparent") == trace);
  CHECK(parse_request({{"baggage", "a=b"}, {"baggage", "\x01"}}).baggage.empty());
}
