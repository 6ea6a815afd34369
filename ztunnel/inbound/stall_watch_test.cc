// Tunnels with bytes that nobody takes, over hours of the simulated world's time.
#include "ztunnel/inbound/stall_watch.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/hbone/connect.h"
#include "lib/tls/stream.h"
#include "tests/support/captured_log.h"
#include "ztunnel/test_mesh.h"

using namespace weft;
using namespace weft::ztunnel;
using namespace std::chrono_literals;

namespace {

enum class Reads { kNothing, kOneByteAMinute, kSlowly, kAll };

// A caller with one tunnel, until `leave` as it says, then reading whatever is left.
struct Caller {
  std::string who = "mallory";
  std::string authority = "10.0.0.2:8080";
  std::size_t sends = 0;  // what the application says back
  Reads reads = Reads::kNothing;
  bool ends = false;  // says that this was all
  StopSource leave;

  std::size_t received = 0;
  std::optional<Error> error;
  bool done = false;
};

Task<void> drive(std::shared_ptr<http2::Connection> connection, StopToken stop) {
  auto ended = co_await connection->run(stop);
  (void)ended;
}

Task<void> send(io::Stream& stream, std::size_t size, bool ends) {
  while (size > 0) {
    const auto part = std::min<std::size_t>(size, 16 * 1024);
    BufferChain data(Buffer::copy_of(std::string(part, 'x')));
    auto written = co_await stream.write(std::move(data));
    if (!written) co_return;
    size -= part;
  }
  if (!ends) co_return;
  auto ended = co_await stream.shutdown_write();
  (void)ended;
}

// False at the end, or after an error.
Task<bool> receive(io::Stream& stream, std::size_t most, Caller& caller) {
  auto data = co_await stream.read(most);
  if (!data) caller.error = data.error();
  if (!data || data->empty()) co_return false;
  stream.consumed(data->size());
  caller.received += data->size();
  co_return true;
}

Task<void> use(Loop& loop, io::Stream& stream, Caller& caller) {
  const StopToken leave = caller.leave.token();
  Scope writing(loop);
  writing.spawn(send(stream, caller.sends, caller.ends));
  while (caller.reads == Reads::kAll && caller.received < caller.sends) {
    auto more = co_await receive(stream, 64 * 1024, caller);
    if (!more) break;
  }
  while (!leave.stop_requested() && !caller.error) {
    auto waited = co_await sleep_for(loop, 1min, leave);
    if (!waited || caller.reads == Reads::kNothing || caller.reads == Reads::kAll) continue;
    auto more = co_await receive(stream, caller.reads == Reads::kSlowly ? 8 * 1024 : 1, caller);
    (void)more;
  }
  while (!caller.error && caller.received < caller.sends) {
    auto more = co_await receive(stream, 64 * 1024, caller);
    if (!more) break;
  }
  co_await writing.join();
  // The tunnel is as good as new.
  if (!caller.error && !caller.ends) {
    co_await send(stream, 5, false);
    while (caller.received < caller.sends + 5) {
      auto more = co_await receive(stream, 5, caller);
      if (!more) break;
    }
  }
  stream.abort(io::AbortReason::kCancel);
}

Task<void> call(Loop& loop, io::Network& network, std::shared_ptr<const tls::Context> context, Caller& caller) {
  auto socket = co_await network.connect({ip("10.0.0.2"), kHbonePort}, {}, {});
  REQUIRE(socket);
  const tls::Verification verification{tls::MeshServer{{identity_of("cart")}}, loop.clock().wall()};
  auto secured = co_await tls::connect(std::move(*socket), context, verification, {});
  REQUIRE(secured);
  http2::Settings settings;
  settings.stream_window = caller.reads == Reads::kOneByteAMinute ? 2 : 16 * 1024;
  auto connection = http2::Connection::create(loop, http2::Role::kClient, settings, std::move(*secured));
  Scope scope(loop);
  scope.spawn(drive(connection, scope.token()));
  {
    http2::Headers request = {{":method", "CONNECT"}, {":authority", caller.authority}};
    auto tunnel = co_await hbone::connect(*connection, std::move(request), {});
    REQUIRE(tunnel);
    co_await use(loop, *tunnel->stream, caller);
  }
  scope.request_stop();
  co_await scope.join();
  caller.done = true;
}

// An application that hears nothing before it is told to listen, and then says everything back.
Task<void> echo_late(Loop& loop, io::StreamPtr stream, StopToken listen) {
  auto waited = co_await sleep_for(loop, 1000h, listen);
  (void)waited;
  for (;;) {
    auto data = co_await stream->read(16 * 1024);
    if (!data || data->empty()) co_return;
    auto written = co_await stream->write(std::move(*data));
    if (!written) co_return;
  }
}

Task<void> serve_late(Loop& loop, io::Listener& listener, StopToken listen, Scope& scope) {
  for (;;) {
    auto accepted = co_await listener.accept(listen);
    if (!accepted) co_return;
    scope.spawn(echo_late(loop, std::move(accepted->stream), listen));
  }
}

struct Day {
  explicit Day(Duration timeout, std::uint32_t stalled_max) : mesh(1, settings_with(timeout, stalled_max)) {
    listener = mesh.network_of(*mesh.pod_b).listen({IpAddress::any(true), 9090}, {}).value();
    mesh.servers.spawn(serve_late(mesh.apps, *listener, listen.token(), mesh.servers));
  }
  ~Day() {
    listen.request_stop();
    mesh.world.run_for(1s);
  }
  static Settings settings_with(Duration timeout, std::uint32_t stalled_max) {
    Settings settings = MeshWorld::make_settings();
    settings.stall_timeout = timeout;
    settings.peer_limits.node_identity_stalled = stalled_max;
    return settings;
  }
  void begin(Caller& caller) {
    auto context = tls::Context::create(mesh.source.authority.credentials(identity_of(caller.who).to_string()));
    REQUIRE(context);
    mesh.clients.spawn(call(mesh.apps, mesh.network_of(*mesh.stranger), *context, caller));
    mesh.world.run_for(1s);
  }
  // Lets it read all that is left.
  void end(Caller& caller) {
    caller.leave.request_stop();
    REQUIRE(mesh.world.run_until([&] { return caller.done; }));
  }
  std::uint64_t cut() { return mesh.count("weft_limits_exceeded_total", "\"stalled\""); }
  void finish() {
    listen.request_stop();
    CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
    mesh.world.run_for(10min);  // until the honest tunnel's connection is given back
    CHECK(mesh.limits.descriptors.used() == 0);
    CHECK(mesh.limits.peers.identities() == 0);
  }

  MeshWorld mesh;
  io::ListenerPtr listener;
  StopSource listen;
};

bool served(const Caller& caller) { return !caller.error && caller.received == caller.sends + (caller.ends ? 0 : 5); }
bool was_reset(const Caller& caller) { return caller.error && caller.error->code() == ErrorCode::kReset; }

// The kinds of tunnels that there are, each once.
struct Kinds {
  Kinds() {
    unread.sends = 100'000;
    dribbled.sends = 2000;
    dribbled.reads = Reads::kOneByteAMinute;
    unheard.sends = 1'000'000;
    unheard.authority = "10.0.0.2:9090";
    answered.sends = 30'000;
    answered.ends = true;
    slow.sends = 2'000'000;
    slow.reads = Reads::kSlowly;
    idle.sends = 5;
    idle.reads = Reads::kAll;
  }
  std::vector<Caller*> standing() { return {&unread, &dribbled, &unheard, &answered}; }
  std::vector<Caller*> moving() { return {&slow, &idle}; }
  void begin(Day& day) {
    for (auto* caller : standing()) day.begin(*caller);
    for (auto* caller : moving()) day.begin(*caller);
  }
  void end(Day& day) {
    day.listen.request_stop();
    for (auto* caller : standing()) day.end(*caller);
    for (auto* caller : moving()) day.end(*caller);
  }
  // The caller reads nothing; a byte a minute; the application reads nothing; the caller reads nothing of a whole answer
  // whose sender is gone.
  Caller unread, dribbled, unheard, answered;
  Caller slow, idle;
};

}  // namespace

TEST_CASE("a tunnel whose waiting bytes nobody takes is cut and says why; a slow reader and an idle tunnel go on") {
  Kinds kinds;  // written by tasks of the world
  Day day(1h, 0);
  testing::CapturedLog log;
  kinds.begin(day);
  day.mesh.world.run_for(59min);
  const auto early = day.cut();
  day.mesh.world.run_for(30min);
  const auto late = day.cut();
  day.mesh.world.run_for(90min);
  const auto in_the_end = day.cut();
  const auto lines = log.take();
  CHECK(early == 0);
  CHECK(late == kinds.standing().size());
  CHECK(in_the_end == late);
  const auto told = [&lines](const std::string& text) {
    return std::count_if(lines.begin(), lines.end(), [&](const auto& line) { return line.find(text) != line.npos; });
  };
  CHECK(told("stalled: bytes waited for the caller for 3600 s, fewer than 4096 moved") == 3);
  CHECK(told("stalled: bytes waited for the application for 3600 s, fewer than 4096 moved") == 1);
  kinds.end(day);
  for (const auto* caller : kinds.standing()) {
    INFO(caller->authority << " " << caller->sends << " sent, " << caller->received << " received");
    CHECK(was_reset(*caller));
  }
  for (const auto* caller : kinds.moving()) {
    INFO(caller->authority << " " << caller->sends << " sent, " << caller->received << " received");
    CHECK(served(*caller));
  }
  day.finish();
}

TEST_CASE("without a time-out tunnels stand still for as long as they like, and lose nothing") {
  Kinds kinds;  // written by tasks of the world
  Day day(0s, 0);
  kinds.begin(day);
  day.mesh.world.run_for(180min);
  CHECK(day.cut() == 0);
  kinds.end(day);
  for (const auto* caller : kinds.standing()) {
    INFO(caller->authority << " " << caller->sends << " sent, " << caller->received << " received");
    CHECK(served(*caller));
  }
  for (const auto* caller : kinds.moving()) {
    INFO(caller->authority << " " << caller->sends << " sent, " << caller->received << " received");
    CHECK(served(*caller));
  }
  CHECK(day.cut() == 0);
  day.finish();
}

TEST_CASE("an identity has so many tunnels that stand still, those of others are left alone, and places come back") {
  std::vector<std::unique_ptr<Caller>> mallorys, others;  // written by tasks of the world
  Day day(1h, 2);
  const auto add = [&day](std::vector<std::unique_ptr<Caller>>& to, const char* who) {
    auto& caller = *to.emplace_back(std::make_unique<Caller>());
    caller.who = who;
    caller.sends = 100'000;
    day.begin(caller);
  };
  add(mallorys, "mallory");
  add(mallorys, "mallory");
  for (int i = 0; i < 2; ++i) add(others, "neighbour");
  day.mesh.world.run_for(3h);
  CHECK(day.cut() == 0);  // as many as it may have, for ever
  // One goes on reading and ends: its place is another's.
  day.end(*mallorys[0]);
  CHECK(served(*mallorys[0]));
  add(mallorys, "mallory");
  day.mesh.world.run_for(3h);
  CHECK(day.cut() == 0);
  for (int i = 0; i < 3; ++i) add(mallorys, "mallory");
  day.mesh.world.run_for(3h);
  CHECK(day.cut() == 3);
  std::size_t alive = 0;
  for (std::size_t i = 1; i < mallorys.size(); ++i) {
    day.end(*mallorys[i]);
    alive += served(*mallorys[i]);
    CHECK((served(*mallorys[i]) || was_reset(*mallorys[i])));
  }
  CHECK(alive == 2);
  for (auto& other : others) {
    day.end(*other);
    CHECK(served(*other));
  }
  day.finish();
}
