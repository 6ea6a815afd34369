#include "certs/issued_chain.h"

#include <catch2/catch_test_macros.hpp>

#include "certs/auth_token.h"
#include "certs/test_files.h"
#include "certs/trust_roots.h"
#include "lib/tls/test_authority.h"

using namespace weft;
using namespace weft::certs;

namespace {
const WallTime kNow{std::chrono::seconds(1'800'000'000)};
const std::string kCart = "spiffe://cluster.local/ns/shop/sa/cart";
}  // namespace

TEST_CASE("an answer is leaf, intermediates and roots") {
  tls::TestAuthority authority(kNow), other(kNow, "other root");
  const auto cart = *model::Identity::parse(kCart);
  const auto made = authority.credentials(kCart);
  const std::string leaf = made->leaf().to_pem(), root = authority.root().to_pem(), second = other.root().to_pem();
  const std::string broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

  auto plain = read_issued_chain(cart, made->key(), {leaf, root}, 3);
  REQUIRE(plain.has_value());
  CHECK((*plain)->generation() == 3);
  CHECK((*plain)->chain().size() == 1);
  auto rich = read_issued_chain(cart, made->key(), {leaf, second, root + broken + second}, 4);
  REQUIRE(rich.has_value());
  CHECK((*rich)->chain().size() == 2);
  CHECK((*rich)->roots().size() == 2);

  auto empty = read_issued_chain(cart, made->key(), {}, 1);
  CHECK(empty.error().message() == "chain returned from CA is empty for: " + kCart);
  CHECK_FALSE(read_issued_chain(cart, made->key(), {leaf}, 1).has_value());
  CHECK_FALSE(read_issued_chain(cart, made->key(), {leaf, broken}, 1).has_value());
  CHECK_FALSE(read_issued_chain(cart, made->key(), {broken, root}, 1).has_value());
  CHECK_FALSE(read_issued_chain(cart, authority.key(), {leaf, root}, 1).has_value());
  const auto users = *model::Identity::parse("spiffe://cluster.local/ns/shop/sa/users");
  auto wrong = read_issued_chain(users, made->key(), {leaf, root}, 1);
  CHECK(wrong.error().code() == ErrorCode::kIdentity);
  CHECK(wrong.error().message() == "did not find expected SAN: " + users.to_string());
}

TEST_CASE("a token file is read for every call, as it is") {
  TestFiles files;
  CHECK_FALSE(AuthToken().authorization()->has_value());
  CHECK(**AuthToken::literal("abc").authorization() == "Bearer abc");
  auto token = AuthToken::file(files, "/t/token");
  CHECK_FALSE(token.authorization().has_value());
  files.tree["/t/token"].text = "one\n";
  CHECK(**token.authorization() == "Bearer one\n");
  files.tree["/t/token"].text = "";
  CHECK(token.authorization().error().message() == "token file exists, but was empty");
}

TEST_CASE("roots come from a file, from text or from the system, and a change of the file is told") {
  TestFiles files;
  tls::TestAuthority authority(kNow);
  auto roots = TrustRoots::file(files, "/ca/root-cert.pem");
  CHECK_FALSE(roots.load({}).has_value());
  int changes = 0;
  auto watch = roots.watch([&] { ++changes; });
  REQUIRE(files.write("/ca/root-cert.pem", authority.root().to_pem(), 0644).has_value());
  CHECK(changes == 1);
  CHECK(roots.load({}).has_value());
  CHECK(TrustRoots::inline_pem(authority.root().to_pem()).load({}).has_value());
  CHECK_FALSE(TrustRoots::inline_pem("/not/there.pem").load({}).has_value());
  CHECK(TrustRoots::system().load({}).has_value());
  CHECK(TrustRoots::system().watch([] {}) == nullptr);
}
