#include "certs/manager/app.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>

#include "certs/ca_client.h"
#include "tests/support/captured_log.h"
#include "tests/support/sim/files.h"
#include "tests/support/sim/network.h"

using namespace weft;
using namespace weft::certs;
using namespace weft::certs::manager;
using namespace std::chrono_literals;

namespace {

const std::string kCart = "spiffe://cluster.local/ns/shop/sa/cart";
const std::string kUsers = "spiffe://cluster.local/ns/shop/sa/users";

class NoResolver final : public io::Resolver {
  Task<Result<std::vector<IpAddress>>> resolve(std::string host, StopToken) override {
    co_return fail(ErrorCode::kNotFound, "resolve " + host);
  }
};

std::string pod(const std::string& account, const std::string& node) {
  return "apiVersion: v1\nkind: Pod\nmetadata:\n  name: " + account + "-" + node +
         "\n  namespace: shop\nspec:\n  nodeName: " + node + "\n  serviceAccountName: " + account + "\n---\n";
}

// The manager on one host; node proxies' clients and a scraper on others. One file tree stands for the shared folders.
struct Rig {
  sim::World world{11};
  sim::Internet internet{world};
  sim::SimLoop& ca_loop = world.make_loop("ca");
  sim::SimLoop& node_loop = world.make_loop("node");
  sim::Host& ca_host = internet.make_host("ca", {*IpAddress::parse("10.0.0.9")});
  sim::Host& node_host = internet.make_host("node", {*IpAddress::parse("10.0.0.1")});
  std::unique_ptr<io::NetworkFactory> ca_networks = internet.networks(ca_host, ca_loop);
  std::unique_ptr<io::NetworkFactory> node_networks = internet.networks(node_host, node_loop);
  io::NetworkPtr ca_network = ca_networks->own(), node_network = node_networks->own();
  std::shared_ptr<sim::FileTree> tree = std::make_shared<sim::FileTree>();
  sim::MemoryFiles ca_files{ca_loop, tree}, node_files{node_loop, tree};
  NoResolver resolver;
  std::unique_ptr<App> app;
  Scope scope{ca_loop};
  std::map<std::string, std::unique_ptr<CaClient>> clients;

  Rig() { tree->put("/state/pods.yaml", pod("cart", "node-a") + pod("users", "node-b")); }
  ~Rig() {
    for (auto& [node, client] : clients) world.run(client->stop());
    scope.request_stop();
    world.run(scope.join());
  }
  Result<void> start() {
    Settings settings;
    settings.listen = SocketAddress(IpAddress(), 15012);
    settings.ca_directory = "/ca";
    settings.manifest_directory = "/state";
    settings.token_directory = "/tokens";
    settings.server_names = {.ips = {*IpAddress::parse("10.0.0.9")}};
    app = std::make_unique<App>(ca_loop, *ca_network, ca_files, settings);
    auto started = app->start();
    if (started) scope.spawn(app->run(scope.token()));
    return started;
  }
  Result<CredentialsPtr> fetch(const std::string& node, const std::string& identity) {
    auto& client = clients[node];
    if (!client) {
      auto made = CaClient::create(node_loop, *node_network, resolver, TrustRoots::file(node_files, "/ca/root-cert.pem"),
                                   AuthToken::file(node_files, "/tokens/" + node), {.address = "https://10.0.0.9:15012"});
      REQUIRE(made);
      client = std::move(*made);
    }
    std::optional<Result<CredentialsPtr>> out;
    world.run(ask(*client, *model::Identity::parse(identity), out));
    return std::move(*out);
  }
  static Task<void> ask(CaClient& client, model::Identity identity, std::optional<Result<CredentialsPtr>>& out) {
    auto outcome = co_await client.fetch(std::move(identity), 1, {});
    out.emplace(std::move(outcome));
  }
  std::string refusal(const std::string& node, const std::string& identity) {
    auto got = fetch(node, identity);
    REQUIRE_FALSE(got);
    return got.error().message();
  }
  // A page of the status port, head included.
  std::string page(const std::string& path) {
    std::string text;
    world.run(get(*this, "GET " + path + " HTTP/1.1\r\nHost: status\r\nConnection: close\r\n\r\n", text));
    return text;
  }
  static Task<void> get(Rig& rig, std::string request, std::string& text) {
    auto stream = co_await rig.ca_network->connect(rig.app->status_address(), {}, {});
    REQUIRE(stream);
    auto sent = co_await (*stream)->write(BufferChain(Buffer::copy_of(request)));
    REQUIRE(sent);
    for (;;) {
      auto part = co_await (*stream)->read(64 * 1024);
      if (!part || part->empty()) break;
      text += part->to_string();
    }
  }
  bool counted(const std::string& line) { return page("/metrics").find("\n" + line + "\n") != std::string::npos; }
};

}  // namespace

TEST_CASE("each node gets certificates of its own pods and of no others, and every request is counted") {
  Rig rig;
  REQUIRE(rig.start());
  CHECK(rig.tree->files.at("/ca/ca-key.pem").mode == 0600);
  CHECK(rig.tree->files.at("/tokens/node-a").mode == 0600);
  auto cart = rig.fetch("node-a", kCart);
  REQUIRE(cart);
  CHECK((*cart)->not_after() - rig.world.clock().wall() <= 1h);
  CHECK(rig.fetch("node-b", kUsers));
  CHECK(rig.refusal("node-a", kUsers) ==
        "signing gRPC error (PermissionDenied): no pod with identity " + kUsers + " runs on node node-a");
  CHECK(rig.page("/healthz/ready").starts_with("HTTP/1.1 200"));
  CHECK(rig.page("/other").starts_with("HTTP/1.1 404"));
  CHECK(rig.counted("weft_certs_issued_total 2"));
  CHECK(rig.counted("weft_certs_refused_total{reason=\"permission_denied\"} 1"));
  CHECK(rig.counted("weft_certs_refused_total{reason=\"unauthenticated\"} 0"));
  CHECK(rig.counted("weft_certs_nodes 2"));
}

TEST_CASE("pods and tokens are followed while the manager runs") {
  Rig rig;
  REQUIRE(rig.start());
  const std::string orders = "spiffe://cluster.local/ns/shop/sa/orders";
  CHECK_FALSE(rig.fetch("node-a", orders));
  rig.tree->put("/state/more.yaml", pod("orders", "node-a") + pod("orders", "node-c"));
  rig.world.run_for(1s);
  CHECK(rig.fetch("node-a", orders));
  CHECK(rig.fetch("node-c", orders));
  rig.tree->put("/state/more.yaml", "{ broken: [");
  rig.world.run_for(1s);
  CHECK(rig.fetch("node-c", orders));
  CHECK(rig.counted("weft_certs_broken_manifests 1"));
  rig.tree->erase("/state/more.yaml");
  rig.world.run_for(1s);
  CHECK_FALSE(rig.fetch("node-a", orders));

  // A node whose token is removed is out, also after further manifests; one whose token is replaced goes on with the new
  // one.
  const std::string token = rig.tree->files.at("/tokens/node-a").content;
  rig.tree->erase("/tokens/node-a");
  rig.world.run_for(1s);
  rig.tree->put("/state/more.yaml", pod("orders", "node-b"));
  rig.world.run_for(1s);
  CHECK_FALSE(rig.tree->files.contains("/tokens/node-a"));
  rig.tree->files["/tokens/node-a"] = {token, 0600};  // only the client sees it: the manager was not told
  CHECK(rig.refusal("node-a", kCart) == "signing gRPC error (Unauthenticated): the token is not that of a known node");
  rig.tree->put("/tokens/node-a", "0123456789abcdef-by-hand", 0600);
  rig.world.run_for(1s);
  CHECK(rig.fetch("node-a", kCart));
  CHECK(rig.counted("weft_certs_refused_total{reason=\"unauthenticated\"} 1"));
}

TEST_CASE("a broken CA folder keeps the last good state and says so") {
  Rig rig;
  REQUIRE(rig.start());
  const std::string key = rig.tree->files.at("/ca/ca-key.pem").content;
  testing::CapturedLog log;
  for (int times = 0; times < 2; ++times) {
    rig.tree->put("/ca/ca-key.pem", "garbage", 0600);
    rig.world.run_for(2s);
  }
  const auto lines = log.take();
  CHECK(std::ranges::count_if(lines, [](const auto& line) { return line.contains("folder cannot be used"); }) == 1);
  CHECK(rig.fetch("node-a", kCart));
  CHECK(rig.counted("weft_certs_authority_stale 1"));
  CHECK(rig.counted("weft_certs_reload_errors_total{folder=\"ca\"} 2"));
  rig.tree->put("/ca/ca-key.pem", key, 0600);
  rig.world.run_for(2s);
  CHECK(rig.fetch("node-a", kCart));
  CHECK(rig.counted("weft_certs_authority_stale 0"));
}

TEST_CASE("the root is rotated while nodes renew, without a refused request") {
  Rig rig;
  REQUIRE(rig.start());
  const auto before = *rig.fetch("node-a", kCart);
  sim::FileTree& tree = *rig.tree;
  auto other = std::make_shared<sim::FileTree>();
  sim::MemoryFiles other_files(rig.ca_loop, other);
  REQUIRE(Authority::initialise(other_files, "/ca", "cluster.local", rig.world.clock().wall()));
  const std::string old_root = tree.files.at("/ca/root-cert.pem").content;
  tree.put("/ca/next-root-cert.pem", other->files.at("/ca/root-cert.pem").content);
  rig.world.run_for(4s);
  const auto announced = *rig.fetch("node-a", kCart);
  CHECK(announced->roots().size() == 2);

  tree.put("/ca/previous-root-cert.pem", old_root);
  for (const char* name : {"/ca/ca-key.pem", "/ca/ca-cert.pem", "/ca/cert-chain.pem", "/ca/root-cert.pem"}) {
    tree.put(name, other->files.at(name).content, 0600);
  }
  rig.world.run_for(4s);
  const auto switched = rig.fetch("node-a", kCart);
  REQUIRE(switched);
  CHECK((*switched)->roots().size() == 2);
  CHECK((*switched)->leaf().issuer() == before->leaf().issuer());
  CHECK((*switched)->leaf().signed_by((*switched)->roots().front()));
  CHECK_FALSE((*switched)->leaf().signed_by(before->roots().front()));
  // A client that starts only now, with the new root file, is served too.
  CHECK(rig.fetch("node-b", kUsers));
}

TEST_CASE("an authority whose signer has expired is not ready and signs nothing") {
  Rig rig;
  const WallTime now = rig.world.clock().wall();
  const auto key = *tls::PrivateKey::generate();
  const auto root =
      *tls::self_sign(key, {.common_name = "brief", .not_before = now - 1h, .not_after = now + 26h, .authority = true});
  rig.tree->put("/ca/ca-key.pem", key.to_pem(), 0600);
  rig.tree->put("/ca/ca-cert.pem", root.to_pem());
  rig.tree->put("/ca/root-cert.pem", root.to_pem());
  REQUIRE(rig.start());
  CHECK(rig.fetch("node-a", kCart));
  rig.world.run_for(25h);
  // Serving goes on with a renewed certificate of our own.
  rig.world.run(rig.clients["node-a"]->stop());
  rig.clients.erase("node-a");
  CHECK(rig.fetch("node-a", kCart));
  CHECK(rig.page("/healthz/ready").starts_with("HTTP/1.1 200"));
  rig.world.run_for(2h);
  CHECK(rig.page("/healthz/ready").find("the signing certificate expired at ") != std::string::npos);
  CHECK(rig.page("/metrics").find("weft_certs_root_expiry_seconds -") != std::string::npos);
  CHECK_FALSE(rig.fetch("node-a", kCart));
}

TEST_CASE("a clock that was a year ahead and is set back is no reason not to be served") {
  Rig rig;
  auto& clock = rig.world.clock();
  REQUIRE(rig.start());
  clock.set_wall(clock.wall() + 24h * 365);
  rig.world.run_for(1min);
  CHECK(rig.fetch("node-a", kCart));
  clock.set_wall(clock.wall() - 24h * 365);
  rig.world.run_for(1min);
  // A client that connects only now.
  CHECK(rig.fetch("node-b", kUsers));
}

TEST_CASE("a start that cannot work says which folder is wrong") {
  Rig rig;
  rig.tree->put("/ca/root-cert.pem", "something");
  auto started = rig.start();
  REQUIRE_FALSE(started);
  CHECK(started.error().message() == "CA folder /ca: /ca has root-cert.pem but no ca-key.pem");
}

TEST_CASE("strangers that connect and say nothing, or too much, cost no one else a certificate") {
  Rig rig;
  REQUIRE(rig.start());
  std::vector<io::StreamPtr> strangers;
  struct Local {
    static Task<void> dial(Rig& rig, std::vector<io::StreamPtr>& strangers, std::string first) {
      auto stream = co_await rig.node_network->connect(SocketAddress(*IpAddress::parse("10.0.0.9"), 15012), {}, {});
      REQUIRE(stream);
      if (!first.empty()) {
        auto sent = co_await (*stream)->write(BufferChain(Buffer::copy_of(first)));
        (void)sent;
      }
      strangers.push_back(std::move(*stream));
    }
  };
  for (int i = 0; i < 60; ++i) rig.world.run(Local::dial(rig, strangers, i % 2 ? "GET / HTTP/1.1\r\n\r\n" : ""));
  CHECK(rig.fetch("node-a", kCart));
  rig.world.run_for(11s);
  CHECK(rig.counted("weft_certs_handshakes_failed_total 60"));
  CHECK(rig.counted("weft_certs_connections_open 1"));
}
