// Members of the mesh that speak to a pod's tunnel port frame by frame over real TLS, in the simulated world, while others
// do honest work. For this folder's tests.
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "lib/tls/stream.h"
#include "tests/support/h2_frames.h"
#include "ztunnel/test_mesh.h"

namespace weft::ztunnel {

using namespace std::chrono_literals;

inline constexpr std::size_t kPiecesMax = 100'000;
inline const SocketAddress kTunnelPort{ip("10.0.0.2"), kHbonePort};

struct Attacker {
  std::string who = "mallory";  // service account of its certificate
  SocketAddress target = kTunnelPort;
  std::string pod = "cart";  // service account of the target
  std::string answers;
  std::optional<Error> refused;                  // by the handshake
  std::optional<std::uint64_t> records_per_key;  // none: as many as RFC 8446 allows
  bool connected = false;
  bool over = false;
  std::size_t pieces = 0;  // that were sent
};

// Speaks TLS with a member's certificate, then sends `piece(i)` until the other side ends it, or `most` times and stays.
inline Task<void> attack(Loop& loop, io::Network& network, std::shared_ptr<const tls::Context> context,
                         std::function<std::string(std::size_t)> piece, std::size_t most, Attacker& out, StopToken stop) {
  auto socket = co_await network.connect(out.target, {}, stop);
  if (!socket) {
    out.refused = socket.error();
    out.over = true;
    co_return;
  }
  const tls::Verification verification{tls::MeshServer{{identity_of(out.pod)}}, loop.clock().wall()};
  auto engine = tls::Engine::create(context, tls::Role::kClient, verification);
  if (!engine) FAIL(engine.error().message());
  if (out.records_per_key) (*engine)->set_records_per_key(*out.records_per_key);
  tls::Stream stream(std::move(*socket), std::move(*engine));
  StopCallback on_stop(stop, [&stream] { stream.abort(io::AbortReason::kCancel); });
  auto secured = co_await stream.handshake(nullptr);
  if (!secured) {
    out.refused = secured.error();
    out.over = true;
    co_return;
  }
  out.connected = true;
  struct Reader {
    static Task<void> run(tls::Stream& stream, Attacker& out) {
      for (;;) {
        auto data = co_await stream.read(64 * 1024);
        if (!data || data->empty()) break;
        stream.consumed(data->size());
        out.answers += data->to_string();
        if (out.answers.size() > (1 << 20)) out.answers.erase(0, 1 << 19);
      }
      out.over = true;
      stream.abort(io::AbortReason::kCancel);
    }
  };
  Scope scope(loop);
  scope.spawn(Reader::run(stream, out));
  for (; out.pieces < most && !out.over; ++out.pieces) {
    BufferChain bytes(Buffer::copy_of(piece(out.pieces)));
    auto written = co_await stream.write(std::move(bytes));
    if (!written) break;
    co_await yield_to(loop);
  }
  co_await scope.join();
}

struct Battle {
  explicit Battle(Settings settings = MeshWorld::make_settings()) : mesh(1, std::move(settings)) {
    (void)mesh.ask(*mesh.pod_a);  // its tunnel stands
    alone = honest_work();
  }
  // How long twenty requests of an honest pod take, every one answered.
  Duration honest_work() {
    const auto begun = mesh.world.clock().monotonic();
    for (int i = 0; i < 20; ++i) REQUIRE(mesh.ask(*mesh.pod_a, "ping").reply == "ping");
    return mesh.world.clock().monotonic() - begun;
  }
  void start(Attacker& attacker, std::function<std::string(std::size_t)> piece, std::size_t most = kPiecesMax) {
    start(attacker, std::move(piece), most, end.token());
  }
  // Ended by `stop`, which is not the battle's.
  void start(Attacker& attacker, std::function<std::string(std::size_t)> piece, std::size_t most, StopToken stop) {
    auto context = tls::Context::create(mesh.source.authority.credentials(identity_of(attacker.who).to_string()));
    REQUIRE(context);
    mesh.clients.spawn(
        attack(mesh.apps, mesh.network_of(*mesh.stranger), *context, std::move(piece), most, attacker, std::move(stop)));
  }
  bool fights(const Attacker& attacker) {
    return mesh.world.run_until([&] { return attacker.over; });
  }
  std::uint64_t counted(LimitReason reason) {
    return mesh.count("weft_limits_exceeded_total", "\"" + std::string(to_string(reason)) + "\"");
  }
  void finish() {
    end.request_stop();
    mesh.world.run_until([&] { return mesh.clients.running() == 0; });
    mesh.world.run_for(30s);
    CHECK(mesh.ask(*mesh.pod_a).reply == "hello");  // its tunnel stands, again when it was idle for long
    CHECK(honest_work() <= alone * 3 / 2);
    CHECK(mesh.count("istio_tcp_sockets_open", "reporter=\"destination\"") == 1);  // the honest pod's
    CHECK(mesh.limits.descriptors.used() == 2);                                    // both its ends
  }

  MeshWorld mesh;
  Duration alone{};
  StopSource end;
};

inline std::uint32_t id(std::size_t index) { return static_cast<std::uint32_t>(2 * index + 1); }

// The connection preface before the first piece.
inline std::function<std::string(std::size_t)> after_hello(std::function<std::string(std::size_t)> piece,
                                                           std::string first = {}) {
  return [piece = std::move(piece), first = std::move(first)](std::size_t i) {
    return (i == 0 ? h2raw::hello() + first : std::string()) + piece(i);
  };
}

}  // namespace weft::ztunnel
