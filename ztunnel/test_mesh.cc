#include "ztunnel/test_mesh.h"

#include <catch2/catch_test_macros.hpp>

#include "lib/hbone/connect.h"
#include "lib/tls/stream.h"

namespace weft::ztunnel {

using namespace std::chrono_literals;

namespace {

Task<void> drive(std::shared_ptr<http2::Connection> connection, StopToken stop) {
  auto ended = co_await connection->run(stop);
  (void)ended;
}

// Says back what it hears, until the other side has said all; leaves the stream to the caller.
Task<void> echo(io::Stream& stream) {
  for (;;) {
    auto data = co_await stream.read(16 * 1024);
    if (!data || data->empty()) break;
    const auto size = data->size();
    auto written = co_await stream.write(std::move(*data));
    if (!written) co_return;
    stream.consumed(size);
  }
  auto finished = co_await stream.shutdown_write();
  (void)finished;
}

Task<void> echo_one(io::StreamPtr stream) { co_await echo(*stream); }

Task<void> serve_echo(EchoServer& server, Scope& scope) {
  for (;;) {
    auto accepted = co_await server.listener->accept({});
    if (!accepted) co_return;
    server.callers.push_back(accepted->peer);
    server.arrived.push_back(accepted->local);
    scope.spawn(echo_one(std::move(accepted->stream)));
  }
}

Task<void> echo_tunnel(FakePeer& peer, Loop& loop, hbone::IncomingTunnel tunnel, StopToken stop) {
  peer.requests.push_back(tunnel.request());
  StopSource ended;
  StopCallback on_stop(stop, [&ended] { ended.request_stop(); });
  tunnel.on_lost([&peer, &ended] {
    ++peer.taken_back;
    ended.request_stop();
  });
  auto slept = co_await sleep_for(loop, peer.answers_after, ended.token());
  tunnel.on_lost({});
  if (!slept) co_return;
  auto stream = tunnel.accept("");
  if (!stream) co_return;
  co_await echo(**stream);
}

Task<void> serve_peer_connection(FakePeer& peer, Loop& loop, io::StreamPtr socket, StopToken stop) {
  const tls::Verification verification{tls::MeshClient{peer.trust_domain}, loop.clock().wall()};
  auto secured = co_await tls::accept(std::move(socket), peer.context, verification, stop);
  if (!secured) co_return;
  ++peer.connections;
  if (!peer.instead.empty()) {
    auto written = co_await (*secured)->write(BufferChain(Buffer::copy_of(peer.instead)));
    (void)written;
    co_await echo(**secured);
    co_return;
  }
  http2::Settings settings;
  io::StreamPtr transport = std::move(*secured);
  hbone::TunnelHandler handler = [&peer, &loop](hbone::IncomingTunnel tunnel, StopToken end) {
    return echo_tunnel(peer, loop, std::move(tunnel), std::move(end));
  };
  StopToken never;
  co_await hbone::serve(loop, settings, std::move(transport), std::move(handler), never, stop);
}

Task<void> serve_peer(FakePeer& peer, Loop& loop, Scope& scope) {
  for (;;) {
    auto accepted = co_await peer.listener->accept(scope.token());
    if (!accepted) co_return;
    scope.spawn(serve_peer_connection(peer, loop, std::move(accepted->stream), scope.token()));
  }
}

Task<void> read_to_end(io::Stream& stream, Seen& seen) {
  for (;;) {
    auto data = co_await stream.read(16 * 1024);
    if (!data) seen.error = data.error();
    if (!data || data->empty()) break;
    stream.consumed(data->size());
    seen.reply += data->to_string();
  }
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
    co_await read_to_end(**stream, seen);
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
  co_await read_to_end(**stream, seen);
  seen.done = true;
}

Task<void> use_tunnel(io::Stream& stream, std::string text, TunnelSeen& seen) {
  auto written = co_await stream.write(BufferChain(Buffer::copy_of(text)));
  auto finished = co_await stream.shutdown_write();
  (void)written;
  (void)finished;
  Seen read;
  co_await read_to_end(stream, read);
  seen.reply = std::move(read.reply);
}

Task<void> dial_tunnel(Loop& loop, io::Network& network, std::shared_ptr<const tls::Context> context, SocketAddress hop,
                       http2::Headers request, std::string text, TunnelSeen& seen) {
  auto socket = co_await network.connect(hop, {}, {});
  REQUIRE(socket);
  const tls::Verification verification{tls::MeshServer{{identity_of("cart")}}, loop.clock().wall()};
  auto secured = co_await tls::connect(std::move(*socket), context, verification, {});
  if (!secured) {
    seen.answer = secured.error().message();
    seen.done = true;
    co_return;
  }
  http2::Settings settings;
  auto connection = http2::Connection::create(loop, http2::Role::kClient, settings, std::move(*secured));
  Scope scope(loop);
  scope.spawn(drive(connection, scope.token()));
  {
    auto tunnel = co_await hbone::connect(*connection, std::move(request), {});
    seen.answer = tunnel ? "200" : tunnel.error().message();
    if (tunnel) {
      seen.baggage = tunnel->baggage;
      if (!text.empty()) co_await use_tunnel(*tunnel->stream, text, seen);
    }
  }
  scope.request_stop();
  co_await scope.join();
  seen.done = true;
}

}  // namespace

Node::Node(sim::World& world, sim::Internet& internet, const std::string& name, const Settings& settings, TestSource& source,
           TrafficFamilies& families, NodeLimits& limits)
    : host(internet.make_host(name, {})),
      control(world.make_loop(name + "-control")),
      loop(world.make_loop(name + "-worker")),
      networks(internet.networks(host, loop)),
      secrets(control, source),
      identities(control, secrets, name),
      worker(loop, *networks, settings, identities, families, limits) {}

Settings MeshWorld::make_settings() {
  Settings settings;
  settings.pool_unused_release_timeout = 5min;
  settings.http2_stream_window = 4u << 20;
  settings.http2_connection_window = 16u << 20;
  settings.http2_frame_size = 1u << 20;
  settings.termination_deadline = 5s;
  return settings;
}

MeshWorld::MeshWorld(std::uint64_t seed, Settings with)
    : settings(std::move(with)),
      world(seed),
      internet(world),
      families(registry),
      source(world.clock().wall()),
      a(world, internet, "node-a", settings, source, families, limits),
      b(world, internet, "node-b", settings, source, families, limits),
      apps(world.make_loop("apps")),
      servers(apps),
      clients(apps) {
  pod_a = &add_pod_host("front", {ip("10.0.0.1")});
  pod_b = &add_pod_host("cart", {ip("10.0.0.2"), ip("fd00::2")});
  stranger = &add_host("stranger", {ip("10.0.0.3")});
  describe("front", {ip("10.0.0.1")}, "node-a");
  describe("cart", {ip("10.0.0.2"), ip("fd00::2")}, "node-b");
  publish();
  for (Node* node : {&a, &b}) world.run(node->worker.follow(mesh));
  start(a, "front", *pod_a);
  start(b, "cart", *pod_b);
  app = &serve(*pod_b, 8080);
}

MeshWorld::~MeshWorld() {
  while (!running_.empty()) stop(running_.begin()->first);
  for (auto& echo : echoes_) echo->listener->close();
  for (auto& peer : peers_) peer->listener->close();
  silent_.clear();
  servers.request_stop();
  world.run(servers.join());
  world.run(clients.join());
  echoes_.clear();
  peers_.clear();
  for (Node* node : {&a, &b}) world.run(node->worker.stop());
  for (Node* node : {&a, &b}) world.run(node->secrets.stop());
  world.run_for(1s);
  CHECK(internet.open_sockets() == 0);
}

sim::Host& MeshWorld::add_host(const std::string& name, const std::vector<IpAddress>& addresses) {
  return internet.make_host(name, addresses);
}

sim::Host& MeshWorld::add_pod_host(const std::string& name, const std::vector<IpAddress>& addresses) {
  auto& pod = add_host(name, addresses);
  pod.redirect_output([](const sim::Flow& flow) -> std::optional<std::uint16_t> {
    if (flow.mark == 1337 || flow.destination.ip().is_loopback()) return std::nullopt;
    return kOutboundPort;
  });
  pod.redirect_input([](const sim::Flow& flow) -> std::optional<std::uint16_t> {
    if (flow.destination.port() == kHbonePort) return std::nullopt;
    return kInboundPlaintextPort;
  });
  return pod;
}

EchoServer& MeshWorld::serve(sim::Host& host, std::uint16_t port) {
  auto& server = *echoes_.emplace_back(std::make_unique<EchoServer>());
  server.listener = network_of(host).listen({IpAddress::any(true), port}, {}).value();
  servers.spawn(serve_echo(server, servers));
  return server;
}

void MeshWorld::add_silent_host(const std::string& name, const std::vector<IpAddress>& addresses, std::uint16_t port) {
  auto& host = add_host(name, addresses);
  silent_.push_back(network_of(host).listen({IpAddress::any(true), port}, {.backlog = 0}).value());
  ask_and_stay(*stranger, "", queued_, StopToken(), {addresses.front(), port});
  world.run_for(10ms);
}

FakePeer& MeshWorld::serve_tunnels(sim::Host& host, std::uint16_t port, const model::Identity& identity) {
  auto& peer = *peers_.emplace_back(std::make_unique<FakePeer>());
  peer.listener = network_of(host).listen({IpAddress::any(true), port}, {}).value();
  peer.context = tls::Context::create(source.authority.credentials(identity.to_string())).value();
  servers.spawn(serve_peer(peer, apps, servers));
  return peer;
}

model::Workload* MeshWorld::describe(const std::string& name, const std::vector<IpAddress>& addresses,
                                     const std::string& node) {
  model::Workload workload;
  workload.uid = "Kubernetes//Pod/shop/" + name;
  workload.name = name;
  workload.namespace_name = "shop";
  workload.service_account = name;
  workload.trust_domain = "cluster.local";
  workload.addresses = addresses;
  workload.protocol = model::TunnelProtocol::kHbone;
  workload.node = node;
  workload.workload_name = workload.canonical_name = name;
  workload.cluster_id = "Kubernetes";
  objects.workloads.push_back(std::move(workload));
  return &objects.workloads.back();
}

model::Service* MeshWorld::describe_service(const std::string& name, const char* vip, model::PortMap ports) {
  model::Service service;
  service.name = name;
  service.namespace_name = "shop";
  service.hostname = name + ".shop.svc.cluster.local";
  service.vips = {{"", ip(vip)}};
  service.ports = std::move(ports);
  objects.services.push_back(std::move(service));
  return &objects.services.back();
}

void MeshWorld::join(model::Workload& workload, const model::Service& service, model::PortMap ports) {
  workload.services[service.key().to_string()] = std::move(ports);
}

void MeshWorld::publish() {
  editor.replace("test", objects);
  auto snapshot = editor.commit();
  for (Node* node : {&a, &b}) node->identities.on_snapshot(*snapshot);
  mesh.publish(snapshot);
  world.run_for(10ms);
}

void MeshWorld::deny(model::Match match, const std::string& name) {
  model::Policy policy;
  policy.name = name;
  policy.namespace_name = "shop";
  policy.action = model::PolicyAction::kDeny;
  policy.rules = {{{std::move(match)}}};
  objects.policies.push_back(std::move(policy));
  publish();
}

Task<void> MeshWorld::start_pod(Node& node, std::uint64_t id, zds::Pod pod, sim::Host& host, Result<void>& started) {
  const Fd netns = internet.namespace_of(host);
  auto result = co_await node.worker.start_pod(id, std::move(pod), netns);
  started = std::move(result);
}

Result<void> MeshWorld::try_start(Node& node, const std::string& name, const std::string& account, sim::Host& host) {
  const auto id = ++ids_;
  Result<void> started = fail(ErrorCode::kInternal, "never ended");
  world.run(start_pod(node, id, zds::Pod{"uid-" + name, name, "shop", account}, host, started));
  if (started) running_[name] = {&node, id};
  return started;
}

void MeshWorld::start(Node& node, const std::string& name, sim::Host& host) { REQUIRE(try_start(node, name, name, host)); }

void MeshWorld::stop(const std::string& name, DrainMode mode) {
  bool done = false;
  world.run(stop_later(name, mode, done));
}

Task<void> MeshWorld::stop_later(std::string name, DrainMode mode, bool& done) {
  const auto pod = running_.at(name);
  running_.erase(name);
  co_await pod.node->worker.stop_pod(pod.id, mode);
  done = true;
}

io::Network& MeshWorld::network_of(sim::Host& host) {
  networks_.push_back(internet.networks(host, apps)->own());
  return *networks_.back();
}

Seen MeshWorld::ask(sim::Host& host, const std::string& text, SocketAddress address) {
  Seen seen;
  clients.spawn(call(network_of(host), address, text, seen));
  REQUIRE(world.run_until([&] { return seen.done; }));
  return seen;
}

void MeshWorld::begin_ask(sim::Host& host, const std::string& text, Seen& seen) {
  clients.spawn(call(network_of(host), {ip("10.0.0.2"), 8080}, text, seen));
}

void MeshWorld::ask_and_stay(sim::Host& host, const std::string& text, Seen& seen, StopToken stop, SocketAddress address) {
  clients.spawn(call_and_stay(network_of(host), address, text, seen, std::move(stop)));
}

TunnelSeen MeshWorld::ask_tunnel_as(certs::CredentialsPtr credentials, http2::Headers request, const std::string& text) {
  auto context = tls::Context::create(std::move(credentials));
  REQUIRE(context);
  TunnelSeen seen;
  clients.spawn(
      dial_tunnel(apps, network_of(*stranger), *context, {ip("10.0.0.2"), kHbonePort}, std::move(request), text, seen));
  REQUIRE(world.run_until([&] { return seen.done; }));
  return seen;
}

TunnelSeen MeshWorld::ask_tunnel(http2::Headers request, const std::string& text, const model::Identity& identity) {
  return ask_tunnel_as(source.authority.credentials(identity.to_string()), std::move(request), text);
}

TunnelSeen MeshWorld::ask_tunnel(const std::string& authority, const std::string& text) {
  return ask_tunnel({{":method", "CONNECT"}, {":authority", authority}}, text);
}

std::uint64_t MeshWorld::count(const std::string& line_start, const std::string& having) {
  std::uint64_t sum = 0;
  const std::string text = registry.text();
  for (std::size_t begin = 0; begin < text.size();) {
    auto end = text.find('\n', begin);
    const auto line = text.substr(begin, end - begin);
    begin = end == text.npos ? text.size() : end + 1;
    if (line.starts_with(line_start) && line.find(having) != line.npos)
      sum += static_cast<std::uint64_t>(std::stod(line.substr(line.rfind(' ') + 1)));
  }
  return sum;
}

}  // namespace weft::ztunnel
