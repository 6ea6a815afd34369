// Two pods, each with its node's worker, and a stranger, in the simulated world; everything above the sockets is production
// code.
#include "ztunnel/pod_proxy.h"

#include <catch2/catch_test_macros.hpp>

#include "lib/hbone/connect.h"
#include "lib/hbone/headers.h"
#include "lib/model/snapshot_editor.h"
#include "lib/tls/stream.h"
#include "lib/tls/test_authority.h"
#include "tests/support/sim/network.h"

using namespace weft;
using namespace weft::ztunnel;
using namespace std::chrono_literals;

namespace {

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }
model::Identity identity_of(const char* name) { return {"cluster.local", "shop", name}; }

class TestSource final : public certs::CertificateSource {
 public:
  explicit TestSource(WallTime now) : authority(now, "mesh root", tls::KeyKind::kEd25519) {}
  Task<Result<certs::CredentialsPtr>> fetch(model::Identity identity, std::uint64_t generation, StopToken) override {
    if (!available) co_return fail(ErrorCode::kUnavailable, "authority is away");
    co_return authority.credentials(identity.to_string(), generation);
  }
  tls::TestAuthority authority;
  bool available = true;
};

// What a client saw.
struct Seen {
  std::string reply;
  std::optional<Error> error;
  bool done = false;
};

struct Node {
  Node(sim::World& world, sim::Internet& internet, const std::string& name, const Settings& settings, TestSource& source,
       TrafficFamilies& families)
      : host(internet.make_host(name, {})),
        control(world.make_loop(name + "-control")),
        loop(world.make_loop(name + "-worker")),
        networks(internet.networks(host, loop)),
        secrets(control, source),
        identities(control, secrets, name),
        worker(loop, *networks, settings, identities, families) {}
  sim::Host& host;
  Loop& control;
  Loop& loop;
  std::unique_ptr<io::NetworkFactory> networks;
  certs::SecretManager secrets;
  Identities identities;
  Worker worker;
};

Task<void> drive(std::shared_ptr<http2::Connection> connection, StopToken stop) {
  auto ended = co_await connection->run(stop);
  (void)ended;
}

Task<void> echo(io::StreamPtr stream) {
  for (;;) {
    auto data = co_await stream->read(16 * 1024);
    if (!data || data->empty()) break;
    auto written = co_await stream->write(std::move(*data));
    if (!written) co_return;
  }
  auto finished = co_await stream->shutdown_write();
  (void)finished;
}

Task<void> serve_echo(io::Listener& listener, Scope& scope, std::vector<SocketAddress>& callers) {
  for (;;) {
    auto accepted = co_await listener.accept({});
    if (!accepted) co_return;
    callers.push_back(accepted->peer);
    scope.spawn(echo(std::move(accepted->stream)));
  }
}

// A peer with a certificate of the mesh that asks for what it likes; "200" or the error's text.
Task<void> ask_tunnel(Loop& loop, io::Network& network, std::shared_ptr<const tls::Context> context, SocketAddress hop,
                      http2::Headers request, std::string& answer) {
  auto socket = co_await network.connect(hop, {}, {});
  REQUIRE(socket);
  const tls::Verification verification{tls::MeshServer{{identity_of("cart")}}, loop.clock().wall()};
  auto secured = co_await tls::connect(std::move(*socket), context, verification, {});
  if (!secured) {
    answer = secured.error().message();
    co_return;
  }
  http2::Settings settings;
  auto connection = http2::Connection::create(loop, http2::Role::kClient, settings, std::move(*secured));
  Scope scope(loop);
  scope.spawn(drive(connection, scope.token()));
  {
    auto tunnel = co_await hbone::connect(*connection, std::move(request), {});
    answer = tunnel ? "200" : tunnel.error().message();
  }
  scope.request_stop();
  co_await scope.join();
}

// Sends `text`, then ends its direction, and reads to the end.
Task<void> call(io::Network& network, SocketAddress address, std::string text, Seen& seen) {
  auto stream = co_await network.connect(address, {}, {});
  if (!stream) {
    seen.error = stream.error();
  } else {
    auto written = co_await (*stream)->write(BufferChain(Buffer::copy_of(text)));
    auto finished = co_await (*stream)->shutdown_write();
    (void)written;
    (void)finished;
    for (;;) {
      auto data = co_await (*stream)->read(16 * 1024);
      if (!data) seen.error = data.error();
      if (!data || data->empty()) break;
      seen.reply += data->to_string();
    }
  }
  seen.done = true;
}

// Sends `text`, reads it back, keeps the connection open and waits for what ends it.
Task<void> call_and_stay(io::Network& network, SocketAddress address, std::string text, Seen& seen, StopToken stop) {
  auto stream = co_await network.connect(address, {}, {});
  if (!stream) {
    seen.error = stream.error();
    seen.done = true;
    co_return;
  }
  StopCallback on_stop(stop, [&stream] { (*stream)->abort(io::AbortReason::kCancel); });
  auto written = co_await (*stream)->write(BufferChain(Buffer::copy_of(text)));
  (void)written;
  for (;;) {
    auto data = co_await (*stream)->read(16 * 1024);
    if (!data) seen.error = data.error();
    if (!data || data->empty()) break;
    seen.reply += data->to_string();
  }
  seen.done = true;
}

struct MeshWorld {
  static Settings make_settings() {
    Settings settings;
    settings.pool_unused_release_timeout = 5min;
    settings.http2_stream_window = 4u << 20;
    settings.http2_connection_window = 16u << 20;
    settings.http2_frame_size = 1u << 20;
    settings.termination_deadline = 5s;
    return settings;
  }

  explicit MeshWorld(std::uint64_t seed = 1)
      : world(seed),
        internet(world),
        families(registry),
        source(world.clock().wall()),
        a(world, internet, "node-a", settings, source, families),
        b(world, internet, "node-b", settings, source, families),
        apps(world.make_loop("apps")),
        servers(apps),
        clients(apps) {
    add_pod(a, "front", "10.0.0.1", pod_a);
    add_pod(b, "cart", "10.0.0.2", pod_b);
    stranger = &internet.make_host("stranger", {ip("10.0.0.3")});
    publish();
    for (Node* node : {&a, &b}) world.run(node->worker.follow(mesh));
    start(a, 1, "front", *pod_a);
    start(b, 1, "cart", *pod_b);
    auto app_networks = internet.networks(*pod_b, apps);
    app = app_networks->own()->listen({IpAddress::any(true), 8080}, {}).value();
    servers.spawn(serve_echo(*app, servers, callers));
  }

  ~MeshWorld() {
    if (!stopped) stop(DrainMode::kImmediate);
    app->close();
    world.run(servers.join());
    world.run(clients.join());
    app.reset();
    for (Node* node : {&a, &b}) world.run(node->worker.stop());
    for (Node* node : {&a, &b}) world.run(node->secrets.stop());
    world.run_for(1s);
    CHECK(internet.open_sockets() == 0);
  }

  void add_pod(Node& node, const char* name, const char* address, sim::Host*& pod) {
    pod = &internet.make_host(name, {ip(address)});
    pod->redirect_output([](const sim::Flow& flow) -> std::optional<std::uint16_t> {
      if (flow.mark == 1337 || flow.destination.ip().is_loopback()) return std::nullopt;
      return kOutboundPort;
    });
    pod->redirect_input([](const sim::Flow& flow) -> std::optional<std::uint16_t> {
      if (flow.mark == 1337 && flow.destination.port() != kHbonePort) return kInboundPlaintextPort;
      if (flow.destination.port() == kHbonePort) return std::nullopt;
      return kInboundPlaintextPort;
    });
    model::Workload workload;
    workload.uid = std::string("Kubernetes//Pod/shop/") + name;
    workload.name = name;
    workload.namespace_name = "shop";
    workload.service_account = name;
    workload.trust_domain = "cluster.local";
    workload.addresses = {ip(address)};
    workload.protocol = model::TunnelProtocol::kHbone;
    workload.node = node.host.name();
    workload.workload_name = workload.canonical_name = name;
    objects.workloads.push_back(workload);
  }

  void publish() {
    editor.replace("test", objects);
    auto snapshot = editor.commit();
    for (Node* node : {&a, &b}) node->identities.on_snapshot(*snapshot);
    mesh.publish(snapshot);
  }

  void start(Node& node, std::uint64_t id, const char* name, sim::Host& pod) {
    Result<void> started;
    world.run(start_pod(node, id, name, pod, started));
    REQUIRE(started);
  }
  Task<void> start_pod(Node& node, std::uint64_t id, const char* name, sim::Host& pod, Result<void>& started) {
    zds::Pod announced{std::string("uid-") + name, name, "shop", name};
    const Fd netns = internet.namespace_of(pod);
    auto result = co_await node.worker.start_pod(id, std::move(announced), netns);
    started = std::move(result);
  }
  void stop(DrainMode mode) {
    for (Node* node : {&a, &b}) world.run(node->worker.stop_pod(1, mode));
    stopped = true;
  }

  io::Network& network_of(sim::Host& host) {
    networks.push_back(internet.networks(host, apps)->own());
    return *networks.back();
  }
  // One request from `host` to the application, to its end.
  Seen ask(sim::Host& host, const std::string& text = "hello", SocketAddress address = {ip("10.0.0.2"), 8080}) {
    Seen seen;
    clients.spawn(call(network_of(host), address, text, seen));
    REQUIRE(world.run_until([&] { return seen.done; }));
    return seen;
  }
  void deny(model::Match match, const std::string& name = "no") {
    model::Policy policy;
    policy.name = name;
    policy.namespace_name = "shop";
    policy.action = model::PolicyAction::kDeny;
    policy.rules = {{{std::move(match)}}};
    objects.policies.push_back(std::move(policy));
    publish();
    world.run_for(10ms);
  }
  std::uint64_t count(const std::string& line_start, const std::string& having) {
    std::uint64_t sum = 0;
    const std::string text = registry.text();
    for (std::size_t at = 0; at < text.size();) {
      auto end = text.find('\n', at);
      const auto line = text.substr(at, end - at);
      at = end == text.npos ? text.size() : end + 1;
      if (line.starts_with(line_start) && line.find(having) != line.npos)
        sum += static_cast<std::uint64_t>(std::stod(line.substr(line.rfind(' ') + 1)));
    }
    return sum;
  }

  const Settings settings = make_settings();
  sim::World world;
  sim::Internet internet;
  telemetry::Registry registry;
  TrafficFamilies families;
  TestSource source;
  model::MeshObjects objects;
  model::SnapshotEditor editor;
  Published<model::Snapshot> mesh;
  Node a, b;
  sim::Host* pod_a = nullptr;
  sim::Host* pod_b = nullptr;
  sim::Host* stranger = nullptr;
  Loop& apps;
  io::ListenerPtr app;
  std::vector<SocketAddress> callers;
  std::vector<io::NetworkPtr> networks;
  Scope servers, clients;
  bool stopped = false;
};

const model::Match kPlainText{.not_principals = {{model::StringMatch::Kind::kPresence, ""}}};

}  // namespace

TEST_CASE("pod to pod goes through one tunnel, keeps the caller's address and is counted as mutual TLS at both ends") {
  MeshWorld mesh;
  const std::string big(300'000, 'x');
  CHECK(mesh.ask(*mesh.pod_a, big).reply == big);
  CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
  REQUIRE(mesh.callers.size() == 2);
  CHECK(mesh.callers[0].ip() == ip("10.0.0.1"));
  CHECK(mesh.count("istio_tcp_connections_opened_total", "reporter=\"source\"") == 2);
  CHECK(mesh.count("istio_tcp_connections_opened_total", "connection_security_policy=\"mutual_tls\"") == 4);
  CHECK(mesh.count("istio_tcp_received_bytes_total", "reporter=\"destination\"") == big.size() + 5);
  // One TLS connection carried both.
  CHECK(mesh.count("istio_tcp_sockets_open", "reporter=\"destination\"") == 1);
  CHECK(mesh.count("istio_tcp_connections_closed_total", "response_flags=\"-\"") == 4);
  CHECK(mesh.count("istio_tcp_connections_failed_total", "") == 0);
}

TEST_CASE("plain text from outside passes until a policy asks for an identity, then it is reset and counted") {
  MeshWorld mesh;
  CHECK(mesh.ask(*mesh.stranger).reply == "hello");
  CHECK(mesh.callers.back().ip() == ip("10.0.0.3"));
  mesh.deny(kPlainText);
  const auto refused = mesh.ask(*mesh.stranger);
  REQUIRE(refused.error);
  CHECK(refused.error->code() == ErrorCode::kReset);
  CHECK(mesh.count("istio_tcp_connections_closed_total", "response_flags=\"DENY\"") == 1);
  CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
}

TEST_CASE(
    "a policy that names the caller refuses its tunnel, the caller's connection is reset, nothing reaches the application") {
  MeshWorld mesh;
  mesh.deny({.principals = {{model::StringMatch::Kind::kExact, identity_of("front").principal()}}});
  const auto refused = mesh.ask(*mesh.pod_a);
  REQUIRE(refused.error);
  CHECK(refused.error->code() == ErrorCode::kReset);
  CHECK(mesh.callers.empty());
  CHECK(mesh.ask(*mesh.stranger).reply == "hello");
}

TEST_CASE("a member of the mesh gets no tunnel to loopback, to other pods, to our own ports or by another method") {
  MeshWorld mesh;
  auto context = tls::Context::create(mesh.source.authority.credentials(identity_of("front").to_string()));
  REQUIRE(context);
  auto ask = [&](const std::string& authority, const std::string& method = "CONNECT", std::size_t padding = 0) {
    http2::Headers request = {{":method", method}, {":authority", authority}};
    if (method != "CONNECT") request.insert(request.begin() + 1, {{":scheme", "https"}, {":path", "/"}});
    if (padding > 0) request.emplace_back("x-padding", std::string(padding, 'p'));
    std::string answer;
    mesh.clients.spawn(
        ask_tunnel(mesh.apps, mesh.network_of(*mesh.stranger), *context, {ip("10.0.0.2"), kHbonePort}, request, answer));
    REQUIRE(mesh.world.run_until([&] { return mesh.clients.running() == 0; }));
    return answer;
  };
  CHECK(ask("10.0.0.2:8080") == "200");
  CHECK(ask("127.0.0.1:8080") == "http status: 400 Bad Request");
  CHECK(ask("[::1]:8080") == "http status: 400 Bad Request");
  CHECK(ask("10.0.0.1:8080") == "http status: 400 Bad Request");
  CHECK(ask("169.254.169.254:80") == "http status: 400 Bad Request");
  CHECK(ask("nonsense") == "http status: 400 Bad Request");
  CHECK(ask("10.0.0.2:8080", "GET") == "http status: 400 Bad Request");
  for (const auto port : {kOutboundPort, kInboundPlaintextPort, kHbonePort})
    CHECK(ask("10.0.0.2:" + std::to_string(port)) == "http status: 503 Service Unavailable");
  CHECK(ask("no-such-host.example:80") == "http status: 503 Service Unavailable");
  CHECK(ask("10.0.0.2:8080", "CONNECT", 20'000) != "200");
  CHECK(mesh.callers.size() == 1);
  CHECK(ask("10.0.0.2:8080") == "200");
}

TEST_CASE("a policy change ends the open connections it concerns and no others") {
  MeshWorld mesh;
  Seen tunnelled, plain;
  StopSource stop;
  mesh.clients.spawn(call_and_stay(mesh.network_of(*mesh.pod_a), {ip("10.0.0.2"), 8080}, "a", tunnelled, stop.token()));
  mesh.clients.spawn(call_and_stay(mesh.network_of(*mesh.stranger), {ip("10.0.0.2"), 8080}, "b", plain, stop.token()));
  REQUIRE(mesh.world.run_until([&] { return tunnelled.reply == "a" && plain.reply == "b"; }));
  mesh.deny(kPlainText);
  REQUIRE(mesh.world.run_until([&] { return plain.done; }));
  CHECK(plain.error);
  mesh.world.run_for(1s);
  CHECK(!tunnelled.done);
  mesh.objects.policies.clear();
  mesh.deny({.namespaces = {{model::StringMatch::Kind::kExact, "shop"}}});
  REQUIRE(mesh.world.run_until([&] { return tunnelled.done; }));
  CHECK(tunnelled.error->code() == ErrorCode::kReset);
  CHECK(mesh.count("istio_tcp_connections_closed_total", "response_flags=\"DENY\"") == 2);
}

TEST_CASE("an address the mesh does not know is passed through, a refused one is a reset and a failed connection") {
  MeshWorld mesh;
  const auto refused = mesh.ask(*mesh.pod_a, "x", {ip("10.0.0.3"), 9});
  REQUIRE(refused.error);
  CHECK(mesh.count("istio_tcp_connections_failed_total", "response_flags=\"CONNECT\"") == 1);
}

TEST_CASE("no certificate, no tunnel: the connection fails, and works when the authority is back") {
  MeshWorld mesh;
  mesh.source.available = false;
  mesh.objects.workloads[0].service_account = "newcomer";
  mesh.publish();
  mesh.world.run(mesh.a.worker.stop_pod(1, DrainMode::kImmediate));
  Result<void> started;
  Fd netns = mesh.internet.namespace_of(*mesh.pod_a);
  struct Start {
    static Task<void> run(MeshWorld& mesh, const Fd& netns, Result<void>& started) {
      zds::Pod announced{"uid-front", "front", "shop", "newcomer"};
      auto result = co_await mesh.a.worker.start_pod(1, std::move(announced), netns);
      started = std::move(result);
    }
  };
  mesh.world.run(Start::run(mesh, netns, started));
  REQUIRE(started);
  CHECK(mesh.ask(*mesh.pod_a).error);
  CHECK(mesh.count("istio_tcp_connections_failed_total", "response_flags=\"IDENTITY_ERROR\"") == 1);
  mesh.source.available = true;
  mesh.world.run_for(10s);
  CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
}

TEST_CASE("a graceful drain lets open connections finish until the deadline, refuses new ones at once") {
  MeshWorld mesh;
  Seen staying;
  StopSource stop;
  mesh.clients.spawn(call_and_stay(mesh.network_of(*mesh.pod_a), {ip("10.0.0.2"), 8080}, "a", staying, stop.token()));
  REQUIRE(mesh.world.run_until([&] { return staying.reply == "a"; }));
  const auto begun = mesh.world.clock().monotonic();
  bool b_stopped = false;
  struct Stop {
    static Task<void> run(Node& node, bool& done) {
      co_await node.worker.stop_pod(1, DrainMode::kGraceful);
      done = true;
    }
  };
  Scope drains(mesh.b.loop);
  drains.spawn(Stop::run(mesh.b, b_stopped));
  mesh.world.run_for(1s);
  CHECK(!staying.done);
  CHECK(mesh.ask(*mesh.pod_a).error);
  CHECK(mesh.ask(*mesh.stranger).error);
  REQUIRE(mesh.world.run_until([&] { return b_stopped; }));
  CHECK(mesh.world.clock().monotonic() - begun >= 5s);
  REQUIRE(mesh.world.run_until([&] { return staying.done; }));
  CHECK(staying.error);
}

TEST_CASE("a destination that left the mesh is not reached over the tunnel made before") {
  MeshWorld mesh;
  CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
  auto gone = mesh.objects.workloads.back();
  mesh.objects.workloads.pop_back();
  mesh.publish();
  mesh.world.run_for(30s);
  CHECK(mesh.count("istio_tcp_sockets_open", "reporter=\"destination\"") == 0);
  mesh.objects.workloads.push_back(gone);
  mesh.publish();
  mesh.world.run_for(10ms);
  CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
}

TEST_CASE("many seeds: bytes arrive whole or the connection fails, whatever the network does") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    INFO("seed " << seed);
    MeshWorld mesh(seed);
    mesh.internet.faults().short_read = mesh.internet.faults().short_write = 0.3;
    mesh.internet.faults().reset = 0.005;
    mesh.internet.faults().refuse = 0.05;
    const std::string text(100'000, static_cast<char>('a' + seed % 26));
    for (int i = 0; i < 4; ++i) {
      const auto seen = mesh.ask(*mesh.pod_a, text);
      if (!seen.error) CHECK(seen.reply == text);
    }
    mesh.internet.faults() = {};
    mesh.world.run_for(1min);
    CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
  }
}
