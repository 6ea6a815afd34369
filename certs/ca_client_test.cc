#include "certs/ca_client.h"

#include <catch2/catch_test_macros.hpp>
#include <cstdio>

#include "ca.pb.h"
#include "lib/grpc/listen.h"
#include "lib/tls/test_authority.h"
#include "tests/support/sim/files.h"
#include "tests/support/sim/network.h"
#include "tests/support/sim/stop_everywhere.h"

using namespace weft;
using namespace weft::certs;
using namespace std::chrono_literals;

namespace {

const std::string kCart = "spiffe://cluster.local/ns/shop/sa/cart";

class TableResolver final : public io::Resolver {
 public:
  std::map<std::string, std::vector<IpAddress>> table;
  Task<Result<std::vector<IpAddress>>> resolve(std::string host, StopToken) override {
    auto found = table.find(host);
    if (found == table.end()) co_return fail(ErrorCode::kNotFound, "resolve " + host + ": no such name");
    co_return found->second;
  }
};

// One node and one authority in a simulated world. What the authority answers can be changed.
struct Rig {
  sim::World world{7};
  sim::Internet internet{world};
  sim::SimLoop& node_loop = world.make_loop("node");
  sim::SimLoop& ca_loop = world.make_loop("ca");
  std::unique_ptr<io::NetworkFactory> node_networks =
      internet.networks(internet.make_host("node", {*IpAddress::parse("10.0.0.1")}), node_loop);
  std::unique_ptr<io::NetworkFactory> ca_networks =
      internet.networks(internet.make_host("ca", {*IpAddress::parse("10.0.0.9")}), ca_loop);
  io::NetworkPtr network = node_networks->own(), ca_network = ca_networks->own();
  std::shared_ptr<sim::FileTree> tree = std::make_shared<sim::FileTree>();
  sim::MemoryFiles files{node_loop, tree};
  TableResolver resolver;

  tls::TestAuthority mesh{world.clock().wall(), "mesh root", tls::KeyKind::kEcdsaP256};
  std::unique_ptr<tls::TestAuthority> serving = std::make_unique<tls::TestAuthority>(world.clock().wall(), "serving root");
  std::shared_ptr<const tls::Context> serving_context;

  // What the last call carried, and what is answered instead of a certificate.
  http2::Headers seen;
  istio::v1::auth::IstioCertificateRequest request;
  std::optional<grpc::Status> refusal;
  std::optional<std::string> issue_for;
  int calls = 0;

  grpc::Server server{ca_loop, {}};
  grpc::ServerListener listener{ca_loop, server, [this] { return serving_context; }};
  Scope ca_scope{ca_loop};
  std::unique_ptr<CaClient> client;

  Rig() {
    serve_as({.dns = {"ca.test"}, .ips = {*IpAddress::parse("10.0.0.9")}});
    resolver.table["ca.test"] = {*IpAddress::parse("10.0.0.8"), *IpAddress::parse("10.0.0.9")};
    tree->put("/etc/token", "the-token");
    server.add("/istio.v1.auth.IstioCertificateService/CreateCertificate",
               [this](grpc::ServerCall& call, StopToken) { return create(*this, call); });
    auto listening = ca_network->listen(SocketAddress(IpAddress(), 15012), {});
    REQUIRE(listening);
    ca_scope.spawn(listener.run(std::move(*listening), ca_scope.token()));
  }
  ~Rig() {
    if (client) world.run(client->stop());
    ca_scope.request_stop();
    world.run(ca_scope.join());
  }
  void serve_as(tls::AlternativeNames names) {
    serving_context = *tls::Context::create(serving->credentials(serving->leaf(std::move(names))));
    tree->put("/etc/roots/root-cert.pem", serving->root().to_pem());
  }
  void make_client(CaClientOptions options) {
    auto made = CaClient::create(node_loop, *network, resolver, TrustRoots::file(files, "/etc/roots/root-cert.pem"),
                                 AuthToken::file(files, "/etc/token"), std::move(options));
    REQUIRE(made);
    client = std::move(*made);
  }
  Result<CredentialsPtr> fetch(const std::string& identity = kCart, std::uint64_t generation = 1) {
    std::optional<Result<CredentialsPtr>> out;
    world.run(ask(*this, *model::Identity::parse(identity), generation, out));
    REQUIRE(out.has_value());
    return std::move(*out);
  }
  static Task<void> ask(Rig& rig, model::Identity identity, std::uint64_t generation,
                        std::optional<Result<CredentialsPtr>>& out) {
    auto outcome = co_await rig.client->fetch(std::move(identity), generation, {});
    out.emplace(std::move(outcome));
  }
  static Task<grpc::Status> create(Rig& rig, grpc::ServerCall& call) {
    ++rig.calls;
    rig.seen = call.metadata();
    auto message = co_await call.read();
    if (!message || !*message || !rig.request.ParseFromString(**message))
      co_return grpc::Status{grpc::Code::kInternal, "unreadable"};
    if (rig.refusal) co_return *rig.refusal;
    auto csr = tls::Request::from_pem(rig.request.csr());
    if (!csr) co_return grpc::Status{grpc::Code::kInvalidArgument, "csr"};
    auto names = csr->names();
    if (rig.issue_for) names.uris = {*rig.issue_for};
    auto leaf = tls::issue(rig.mesh.root(), rig.mesh.key(), *csr, rig.mesh.leaf(names));
    if (!leaf) co_return grpc::Status{grpc::Code::kInternal, "issue"};
    istio::v1::auth::IstioCertificateResponse response;
    response.add_cert_chain(leaf->to_pem());
    response.add_cert_chain(rig.mesh.root().to_pem());
    auto written = co_await call.write(response.SerializeAsString());
    co_return written ? grpc::Status{} : grpc::from_error(written.error());
  }
};

std::string header(const http2::Headers& headers, std::string_view name) {
  const auto* found = http2::find(headers, name);
  return found ? *found : "(absent)";
}

}  // namespace

TEST_CASE("a certificate is asked for as ztunnel does and checked before it is used") {
  Rig rig;
  rig.make_client(
      {.address = "https://ca.test:15012", .cluster_id = "c1", .headers = {{"x-tenant", "bank"}}, .certificate_life = 1h});
  auto got = rig.fetch(kCart, 5);
  REQUIRE(got);
  CHECK((*got)->identity()->to_string() == kCart);
  CHECK((*got)->generation() == 5);
  CHECK((*got)->roots().size() == 1);
  CHECK((*got)->leaf().matches((*got)->key()));
  CHECK(header(rig.seen, "authorization") == "Bearer the-token");
  CHECK(header(rig.seen, "clusterid") == "c1");
  CHECK(header(rig.seen, "x-tenant") == "bank");
  CHECK(header(rig.seen, ":authority") == "ca.test:15012");
  CHECK(rig.request.validity_duration() == 3600);
  CHECK(rig.request.metadata().fields().at("ImpersonatedIdentity").string_value() == kCart);

  // One connection carries every call; the token is read for each.
  rig.tree->put("/etc/token", "next-token");
  REQUIRE(rig.fetch());
  CHECK(header(rig.seen, "authorization") == "Bearer next-token");
  CHECK(rig.listener.counters().accepted == 1);
}

TEST_CASE("a proxy of one workload does not say for whom it asks, and takes no certificate of another") {
  Rig rig;
  rig.make_client({.address = "https://ca.test:15012", .impersonates = false});
  REQUIRE(rig.fetch());
  CHECK(!rig.request.has_metadata());
  rig.issue_for = "spiffe://cluster.local/ns/shop/sa/other";
  const auto other = rig.fetch();
  REQUIRE(!other);
  CHECK(other.error().message() == "did not find expected SAN: " + kCart);
}

TEST_CASE("an authority that is not the one named is not asked anything") {
  Rig rig;
  rig.make_client({.address = "https://10.0.0.9:15012"});
  CHECK(rig.fetch());
  rig.world.run(rig.client->stop());
  rig.serve_as({.dns = {"other.test"}});
  rig.make_client({.address = "https://ca.test:15012"});
  const int before = rig.calls;
  auto refused = rig.fetch();
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message().starts_with("signing gRPC error (Unavailable): "));
  CHECK(refused.error().message().find("not valid for name ca.test") != std::string::npos);
  rig.world.run(rig.client->stop());
  rig.tree->put("/etc/roots/root-cert.pem", tls::TestAuthority(rig.world.clock().wall(), "foreign").root().to_pem());
  rig.make_client({.address = "https://ca.test:15012", .alternative_host = "other.test"});
  CHECK_FALSE(rig.fetch());
  CHECK(rig.calls == before);
  rig.world.run(rig.client->stop());
  rig.serve_as({.dns = {"other.test"}});
  rig.make_client({.address = "https://ca.test:15012", .alternative_host = "other.test"});
  CHECK(rig.fetch());
}

TEST_CASE("refusals, wrong answers and silence are errors with ztunnel's texts") {
  Rig rig;
  rig.make_client({.address = "https://10.0.0.9:15012"});
  rig.refusal = grpc::Status{grpc::Code::kPermissionDenied, "no such pod"};
  auto got = rig.fetch();
  REQUIRE_FALSE(got);
  CHECK(got.error().message() == "signing gRPC error (PermissionDenied): no such pod");
  CHECK(got.error().code() == ErrorCode::kPermission);
  rig.refusal.reset();
  rig.issue_for = "spiffe://cluster.local/ns/shop/sa/other";
  got = rig.fetch();
  REQUIRE_FALSE(got);
  CHECK(got.error().message() == "did not find expected SAN: " + kCart);
  rig.issue_for.reset();
  rig.tree->put("/etc/token", "");
  const int before = rig.calls;
  got = rig.fetch();
  REQUIRE_FALSE(got);
  CHECK(got.error().message() == "token file exists, but was empty");
  rig.tree->put("/etc/token", "two\nlines");
  CHECK_FALSE(rig.fetch());
  CHECK(rig.calls == before);
  rig.tree->put("/etc/token", "the-token");
  CHECK(rig.fetch());
}

TEST_CASE("an authority that went away is found again") {
  Rig rig;
  rig.make_client({.address = "https://10.0.0.9:15012"});
  REQUIRE(rig.fetch());
  rig.internet.faults().refuse = 1;
  rig.internet.reset_connections_of(*rig.internet.host_with(*IpAddress::parse("10.0.0.9")));
  auto got = rig.fetch();
  REQUIRE_FALSE(got);
  CHECK(got.error().code() == ErrorCode::kUnavailable);
  rig.internet.faults().refuse = 0;
  rig.internet.faults().hang = 1;
  const auto begin = rig.world.clock().monotonic();
  CHECK_FALSE(rig.fetch());
  CHECK(rig.world.clock().monotonic() - begin < 6s);
  rig.internet.faults().hang = 0;
  CHECK(rig.fetch());
}

TEST_CASE("changed roots move the next fetch to a new connection, unusable ones do not") {
  Rig rig;
  rig.make_client({.address = "https://10.0.0.9:15012"});
  REQUIRE(rig.fetch());
  rig.tree->put("/etc/roots/root-cert.pem", "garbage");
  rig.world.run_for(3s);
  REQUIRE(rig.fetch());
  CHECK(rig.listener.counters().accepted == 1);
  // The authority moves to another root: the old connection still works, the new roots are picked up all the same.
  rig.serving = std::make_unique<tls::TestAuthority>(rig.world.clock().wall(), "next serving root");
  rig.serve_as({.ips = {*IpAddress::parse("10.0.0.9")}});
  rig.world.run_for(3s);
  REQUIRE(rig.fetch());
  CHECK(rig.listener.counters().accepted == 2);
  rig.world.run_for(3s);
  CHECK(rig.listener.counters().open == 1);
}

TEST_CASE("roots that are missing at first are looked for at every fetch") {
  Rig rig;
  rig.tree->erase("/etc/roots/root-cert.pem");
  rig.make_client({.address = "https://10.0.0.9:15012"});
  auto got = rig.fetch();
  REQUIRE_FALSE(got);
  CHECK(got.error().message().find("root certificate") != std::string::npos);
  rig.tree->put("/etc/roots/root-cert.pem", rig.serving->root().to_pem());
  CHECK(rig.fetch());
}

TEST_CASE("a bad address or header is refused before anything is dialled") {
  Rig rig;
  const auto create = [&](CaClientOptions options) {
    return CaClient::create(rig.node_loop, *rig.network, rig.resolver, TrustRoots::system(), AuthToken(),
                            std::move(options));
  };
  CHECK_FALSE(create({.address = "https://"}));
  CHECK_FALSE(create({.address = "http://ca.test:1"}));
  CHECK_FALSE(create({.address = "https://ca.test", .headers = {{"Upper", "x"}}}));
  CHECK_FALSE(create({.address = "https://ca.test", .headers = {{"x", "a\r\nb"}}}));
}

namespace {

// The first call of a client: names, connection, TLS, HTTP/2, the call.
struct OneFetch {
  OneFetch() {
    rig.make_client({.address = "https://ca.test:15012"});
    scope.spawn(ask(*this));
  }
  static Task<void> ask(OneFetch& self) {
    auto identity = model::Identity::parse(kCart);
    auto outcome = co_await self.rig.client->fetch(std::move(*identity), 1, self.asked_to_stop.token());
    self.outcome.emplace(std::move(outcome));
  }
  sim::World& world() { return rig.world; }
  bool over() const { return outcome.has_value(); }
  void stop() { asked_to_stop.request_stop(); }
  bool stopped() const { return over(); }
  void check() {
    rig.world.run(scope.join());
    CHECK(rig.fetch(kCart, 2));  // the client is none the worse for it
  }
  Rig rig;
  StopSource asked_to_stop;
  std::optional<Result<CredentialsPtr>> outcome;
  Scope scope{rig.node_loop};
};

}  // namespace

TEST_CASE("a request for a certificate that is stopped at any point ends at once, and the next one succeeds") {
  const auto points = sim::stop_everywhere<OneFetch>(1s);
  std::printf("a request for a certificate stopped at %zu points\n", points);
  CHECK(points > 20);
}
