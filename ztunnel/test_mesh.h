// Pods on two nodes and what is around them, in the simulated world; everything above the sockets is production code. For
// this folder's tests.
//
// Members of the mesh may be dialled by address; what the mesh knows is changed by editing `objects` and publish().
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/hbone/accept.h"
#include "lib/model/snapshot_editor.h"
#include "lib/tls/test_authority.h"
#include "tests/support/sim/network.h"
#include "ztunnel/pod_proxy.h"

namespace weft::ztunnel {

inline IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }
inline SocketAddress at(const char* text) { return SocketAddress::parse(text).value(); }
inline model::Identity identity_of(const std::string& name) { return {"cluster.local", "shop", name}; }

inline const model::Match kPlainText{.not_principals = {{model::StringMatch::Kind::kPresence, ""}}};
inline model::Match principal_is(const std::string& name) {
  return {.principals = {{model::StringMatch::Kind::kExact, identity_of(name).principal()}}};
}

class TestSource final : public certs::CertificateSource {
 public:
  explicit TestSource(WallTime now) : authority(now, "mesh root", tls::KeyKind::kEd25519) {}
  Task<Result<certs::CredentialsPtr>> fetch(model::Identity identity, std::uint64_t generation, StopToken) override {
    asked.push_back(identity.service_account);
    if (!available) co_return fail(ErrorCode::kUnavailable, "authority is away");
    co_return authority.credentials(identity.to_string(), generation);
  }
  tls::TestAuthority authority;
  bool available = true;
  std::vector<std::string> asked;  // service accounts, in order
};

// What a client saw.
struct Seen {
  std::string reply;
  std::optional<Error> error;
  bool done = false;
};

// What a peer with a tunnel of its own saw.
struct TunnelSeen {
  std::string answer;  // "200", or the error's text
  std::string baggage;
  std::string reply;
  bool done = false;
};

// An application that says back what it hears, on one address of one host.
struct EchoServer {
  io::ListenerPtr listener;
  std::vector<SocketAddress> callers;
  std::vector<SocketAddress> arrived;  // the local address of each
};

// A peer of the mesh that is none of ours (a waypoint): takes every tunnel and says back what it hears.
struct FakePeer {
  io::ListenerPtr listener;
  std::shared_ptr<const tls::Context> context;
  std::string trust_domain = "cluster.local";
  std::string instead;  // says this in place of HTTP/2
  Duration answers_after{};
  std::vector<hbone::ReceivedRequest> requests;
  std::size_t taken_back = 0;  // requests, before they were answered
  std::size_t connections = 0;
};

struct Node {
  Node(sim::World& world, sim::Internet& internet, const std::string& name, const Settings& settings, TestSource& source,
       TrafficFamilies& families, NodeLimits& limits);
  sim::Host& host;
  Loop& control;
  Loop& loop;
  std::unique_ptr<io::NetworkFactory> networks;
  certs::SecretManager secrets;
  Identities identities;
  Worker worker;
};

class MeshWorld {
 public:
  static Settings make_settings();

  // Pods front (10.0.0.1) on node a and cart (10.0.0.2, fd00::2) on node b, an application on cart's port 8080, and a
  // stranger (10.0.0.3) outside the mesh.
  explicit MeshWorld(std::uint64_t seed = 1, Settings with = make_settings());
  // Stops every pod at once and checks that no socket is left.
  ~MeshWorld();

  // --- around the mesh ---
  sim::Host& add_host(const std::string& name, const std::vector<IpAddress>& addresses);
  EchoServer& serve(sim::Host& host, std::uint16_t port);
  // A host that answers no SYN on `port`: the queue there is full and nobody accepts.
  void add_silent_host(const std::string& name, const std::vector<IpAddress>& addresses, std::uint16_t port);
  FakePeer& serve_tunnels(sim::Host& host, std::uint16_t port, const model::Identity& identity);

  // --- the mesh ---
  // A workload record, not yet published. The pointer holds until the next one is added.
  model::Workload* describe(const std::string& name, const std::vector<IpAddress>& addresses, const std::string& node);
  model::Service* describe_service(const std::string& name, const char* vip, model::PortMap ports);
  static void join(model::Workload& workload, const model::Service& service, model::PortMap ports);
  // A host with the rules that the agent writes into pods.
  sim::Host& add_pod_host(const std::string& name, const std::vector<IpAddress>& addresses);
  void publish();
  void deny(model::Match match, const std::string& name = "no");

  // --- pods ---
  // Serves the pod `name` on `node`; fails as the worker does.
  Result<void> try_start(Node& node, const std::string& name, const std::string& account, sim::Host& host);
  void start(Node& node, const std::string& name, sim::Host& host);
  void stop(const std::string& name, DrainMode mode = DrainMode::kImmediate);
  Task<void> stop_later(std::string name, DrainMode mode, bool& done);

  // --- callers ---
  io::Network& network_of(sim::Host& host);
  // One request to its end.
  Seen ask(sim::Host& host, const std::string& text = "hello", SocketAddress address = {ip("10.0.0.2"), 8080});
  // The same, begun; `seen` outlives the world.
  void begin_ask(sim::Host& host, const std::string& text, Seen& seen);
  // A request that stays open; `seen` outlives the world or `stop`.
  void ask_and_stay(sim::Host& host, const std::string& text, Seen& seen, StopToken stop,
                    SocketAddress address = {ip("10.0.0.2"), 8080});
  // A tunnel to cart asked for by hand, from the stranger's address with a certificate for `identity`. With `text` it is
  // sent once the tunnel stands, and read back.
  TunnelSeen ask_tunnel(http2::Headers request, const std::string& text = "",
                        const model::Identity& identity = identity_of("front"));
  TunnelSeen ask_tunnel(const std::string& authority, const std::string& text = "");
  // The same with credentials of any kind.
  TunnelSeen ask_tunnel_as(certs::CredentialsPtr credentials, http2::Headers request, const std::string& text = "");

  // Sum over the samples whose line begins and contains so.
  std::uint64_t count(const std::string& line_start, const std::string& having = "");

 private:
  struct Running {
    Node* node;
    std::uint64_t id;
  };
  Task<void> start_pod(Node& node, std::uint64_t id, zds::Pod pod, sim::Host& host, Result<void>& started);

  std::map<std::string, Running> running_;
  std::uint64_t ids_ = 1000;  // apart from those that Pods gives

 public:
  const Settings settings;
  sim::World world;
  sim::Internet internet;
  telemetry::Registry registry;
  TrafficFamilies families;
  NodeLimits limits{registry, 1024, settings};
  TestSource source;
  model::MeshObjects objects;
  model::SnapshotEditor editor;
  Published<model::Snapshot> mesh;
  Node a, b;
  Loop& apps;
  sim::Host* pod_a = nullptr;
  sim::Host* pod_b = nullptr;
  sim::Host* stranger = nullptr;
  EchoServer* app = nullptr;
  std::vector<SocketAddress>& callers() { return app->callers; }
  Scope servers, clients;

 private:
  std::vector<std::unique_ptr<EchoServer>> echoes_;
  std::vector<std::unique_ptr<FakePeer>> peers_;
  std::vector<io::ListenerPtr> silent_;
  Seen queued_;  // in front of a silent host
  std::vector<io::NetworkPtr> networks_;
};

}  // namespace weft::ztunnel
