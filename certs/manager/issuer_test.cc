#include "certs/manager/issuer.h"

#include <catch2/catch_test_macros.hpp>
#include <set>

#include "certs/test_files.h"

using namespace weft;
using namespace weft::certs;
using namespace weft::certs::manager;
using namespace std::chrono_literals;

namespace {

const WallTime kNow{1'800'000'000s};
const std::string kCart = "spiffe://cluster.local/ns/shop/sa/cart";
const std::string kUsers = "spiffe://cluster.local/ns/shop/sa/users";

struct FakeAllowed final : AllowedIdentities {
  std::set<std::pair<std::string, std::string>> pods;
  bool runs_on(const std::string& node, const model::Identity& identity) const override {
    return pods.contains({node, identity.to_string()});
  }
};

struct Rig {
  TestFiles files;
  NodeTokens tokens{files, "/tokens"};
  FakeAllowed allowed;
  std::shared_ptr<const Authority> authority;
  tls::PrivateKey key = *tls::PrivateKey::generate();
  Rig() {
    REQUIRE(Authority::initialise(files, "/ca", "cluster.local", kNow).has_value());
    authority = *Authority::load(files, "/ca");
    REQUIRE(tokens.ensure("node-a").has_value());
    REQUIRE(tokens.ensure("node-b").has_value());
    allowed.pods = {{"node-a", kCart}, {"node-b", kUsers}};
  }
  SigningRequest request(const std::string& node, const std::string& uri) {
    return {.authorization = "Bearer " + files.tree["/tokens/" + node].text,
            .csr = *tls::make_request(key, uri),
            .validity_seconds = 86'400,
            .impersonated = uri};
  }
  std::expected<Issued, Refusal> ask(const SigningRequest& request) {
    return decide(request, tokens, allowed, *authority, {"cluster.local", 1h}, kNow);
  }
  Refusal::Reason refusal(const SigningRequest& request) {
    auto issued = ask(request);
    REQUIRE_FALSE(issued.has_value());
    INFO(issued.error().message);
    return issued.error().reason;
  }
};

}  // namespace

TEST_CASE("a node gets certificates of its own pods, no longer than allowed") {
  Rig rig;
  auto issued = rig.ask(rig.request("node-a", kCart));
  REQUIRE(issued.has_value());
  CHECK(issued->node == "node-a");
  CHECK(issued->identity.to_string() == kCart);
  REQUIRE(issued->chain.size() == 2);
  auto leaf = tls::Certificate::from_pem(issued->chain.front());
  REQUIRE(leaf.has_value());
  CHECK(leaf->not_after() == kNow + 1h);
  CHECK(leaf->matches(rig.key));

  auto brief = rig.request("node-a", kCart);
  brief.validity_seconds = 600;
  CHECK(rig.ask(brief)->life == 10min);
  brief.validity_seconds = 1;
  CHECK(rig.ask(brief)->life == 1min);
  for (const std::int64_t hostile : {std::int64_t{0}, std::int64_t{-5}, INT64_MAX, INT64_MIN}) {
    brief.validity_seconds = hostile;
    CHECK(rig.ask(brief)->life == 1h);
  }
  auto without_metadata = rig.request("node-a", kCart);
  without_metadata.impersonated.reset();
  CHECK(rig.ask(without_metadata).has_value());
}

TEST_CASE("a request without a known node's token is unauthenticated") {
  Rig rig;
  auto request = rig.request("node-a", kCart);
  const std::string token = *request.authorization;
  for (const std::string& wrong :
       {std::string("Bearer "), std::string("Bearer x"), token + "0", token.substr(0, token.size() - 1),
        "bearer" + token.substr(6), "Basic " + token.substr(7)}) {
    request.authorization = wrong;
    CHECK(rig.refusal(request) == Refusal::Reason::kUnauthenticated);
  }
  request.authorization.reset();
  CHECK(rig.refusal(request) == Refusal::Reason::kUnauthenticated);
}

TEST_CASE("a node cannot have identities of other nodes' pods or of foreign trust domains") {
  Rig rig;
  CHECK(rig.refusal(rig.request("node-a", kUsers)) == Refusal::Reason::kPermissionDenied);
  CHECK(rig.refusal(rig.request("node-b", kCart)) == Refusal::Reason::kPermissionDenied);
  const std::string foreign = "spiffe://other/ns/shop/sa/cart";
  rig.allowed.pods.insert({"node-a", foreign});
  CHECK(rig.refusal(rig.request("node-a", foreign)) == Refusal::Reason::kPermissionDenied);
  rig.allowed.pods.erase({"node-a", kCart});  // the pod has gone
  CHECK(rig.refusal(rig.request("node-a", kCart)) == Refusal::Reason::kPermissionDenied);
}

TEST_CASE("a request that is broken or says two things is refused") {
  Rig rig;
  auto request = rig.request("node-a", kCart);
  request.impersonated = kUsers;
  CHECK(rig.refusal(request) == Refusal::Reason::kInvalidArgument);
  request = rig.request("node-a", kCart);
  request.csr = "hello";
  CHECK(rig.refusal(request) == Refusal::Reason::kInvalidArgument);
  request.csr = std::string(100'000, 'x');
  CHECK(rig.refusal(request) == Refusal::Reason::kInvalidArgument);
  CHECK(rig.refusal(rig.request("node-a", "https://cart")) == Refusal::Reason::kInvalidArgument);
}

TEST_CASE("tokens are random, private, kept over restarts and replaced by their file") {
  TestFiles files;
  NodeTokens tokens(files, "/tokens");
  REQUIRE(tokens.ensure("node-a").has_value());
  REQUIRE(tokens.ensure("node-b").has_value());
  const std::string a = files.tree["/tokens/node-a"].text, b = files.tree["/tokens/node-b"].text;
  CHECK(a.size() == 64);
  CHECK(a != b);
  CHECK(files.tree["/tokens/node-a"].mode == 0600);
  NodeTokens again(files, "/tokens");
  REQUIRE(again.reload().has_value());
  REQUIRE(again.ensure("node-a").has_value());
  CHECK(again.node_of(a) == "node-a");
  CHECK(again.node_of(b) == "node-b");
  CHECK_FALSE(again.node_of("").has_value());
  files.tree["/tokens/node-a"].text = "a-token-set-by-hand\n";
  files.tree["/tokens/node-b"].text = "short";
  REQUIRE(again.reload().has_value());
  CHECK(again.node_of("a-token-set-by-hand") == "node-a");
  CHECK_FALSE(again.node_of(a).has_value());
  CHECK_FALSE(again.node_of("short").has_value());
  // Nor by a program that starts with such a file, or to whom its node is new.
  for (const char* text : {"short", "", "               \n"}) {
    files.tree["/tokens/node-c"].text = text;
    auto given = again.ensure("node-c");
    REQUIRE_FALSE(given.has_value());
    CHECK(given.error().code() == ErrorCode::kInvalidArgument);
    CHECK_FALSE(again.node_of(text).has_value());
    CHECK(files.tree["/tokens/node-c"].text == text);
  }
  files.tree["/tokens/node-c"].text = "a-token-set-by-hand-too";
  REQUIRE(again.ensure("node-c").has_value());
  CHECK(again.node_of("a-token-set-by-hand-too") == "node-c");
  for (const char* bad : {"", "../x", "a/b", ".hidden", "A", "a..b", "-a"}) CHECK_FALSE(tokens.ensure(bad).has_value());
}
