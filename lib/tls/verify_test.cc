#include "lib/tls/verify.h"

#include <catch2/catch_test_macros.hpp>

using namespace weft;
using namespace weft::tls;

namespace {
const std::string kCart = "spiffe://cluster.local/ns/shop/sa/cart";
const std::string kUsers = "spiffe://cluster.local/ns/shop/sa/users";
model::Identity identity(const std::string& uri) { return *model::Identity::parse(uri); }
}  // namespace

TEST_CASE("a mesh server accepts its trust domain and exactly one URI") {
  const Expectation expectation = MeshClient{"cluster.local"};
  auto peer = check_peer({.uris = {kCart}}, expectation);
  REQUIRE(peer);
  CHECK((*peer)->to_string() == kCart);
  auto foreign = check_peer({.uris = {"spiffe://other/ns/shop/sa/cart"}}, expectation);
  REQUIRE_FALSE(foreign);
  CHECK(foreign.error().code() == ErrorCode::kIdentity);
  CHECK(foreign.error().message() ==
        "identity verification error: peer did not present the expected trustdomain (cluster.local), got "
        "spiffe://other/ns/shop/sa/cart");
  CHECK_FALSE(check_peer({.uris = {kCart, kUsers}}, expectation));
  CHECK_FALSE(check_peer({.uris = {kCart, kCart}}, expectation));
  CHECK_FALSE(check_peer({}, expectation));
  CHECK_FALSE(check_peer({.dns = {"cart.shop"}}, expectation));
  CHECK_FALSE(check_peer({.uris = {"spiffe://cluster.local/ns/shop"}}, expectation));
  CHECK_FALSE(check_peer({.uris = {"https://cluster.local/ns/shop/sa/cart"}}, expectation));
}

TEST_CASE("a mesh server without an identity accepts peers without one") {
  auto peer = check_peer({.dns = {"x"}}, MeshClient{""});
  REQUIRE(peer);
  CHECK_FALSE(*peer);
}

TEST_CASE("a mesh client accepts exactly the expected identities") {
  CHECK(check_peer({.uris = {kCart}}, MeshServer{{identity(kUsers), identity(kCart)}}));
  auto wrong = check_peer({.uris = {kCart}, .dns = {"users.shop"}}, MeshServer{{identity(kUsers)}});
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().message() ==
        "identity verification error: peer did not present the expected SAN (" + kUsers + "), got " + kCart);
  CHECK_FALSE(check_peer({.uris = {kCart, kUsers}}, MeshServer{{identity(kUsers)}}));
  CHECK_FALSE(check_peer({.uris = {kCart}}, MeshServer{}));
}

TEST_CASE("a control-plane server is known by name, address or the alternative name") {
  const AlternativeNames names{.dns = {"istiod.istio-system.svc", "*.example.org"}, .ips = {*IpAddress::parse("127.0.0.1")}};
  CHECK(check_peer(names, NamedServer{"istiod.istio-system.svc", {}}));
  CHECK(check_peer(names, NamedServer{"ISTIOD.istio-system.svc", {}}));
  CHECK(check_peer(names, NamedServer{"127.0.0.1", {}}));
  CHECK(check_peer(names, NamedServer{"a.example.org", {}}));
  CHECK_FALSE(check_peer(names, NamedServer{"127.0.0.2", {}}));
  CHECK_FALSE(check_peer(names, NamedServer{"a.b.example.org", {}}));
  CHECK_FALSE(check_peer(names, NamedServer{"example.org", {}}));
  CHECK_FALSE(check_peer(names, NamedServer{"localhost", {}}));
  CHECK(check_peer(names, NamedServer{"localhost", "istiod.istio-system.svc"}));
}

TEST_CASE("wildcards stand for one whole leftmost label") {
  struct Row {
    const char* pattern;
    const char* host;
    bool matches;
  };
  for (const Row& row : {Row{"a.b", "a.b", true}, Row{"a.b", "a.b.", true}, Row{"*.b.c", "a.b.c", true},
                         Row{"*.b.c", ".b.c", false}, Row{"*.c", "b.c", false}, Row{"*", "a", false},
                         Row{"a*.b.c", "ab.b.c", false}, Row{"*.b.c", "b.c", false}, Row{"", "", false}}) {
    INFO(row.pattern << " against " << row.host);
    CHECK(matches_dns_name(row.pattern, row.host) == row.matches);
  }
}
