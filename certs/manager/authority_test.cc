#include "certs/manager/authority.h"

#include <catch2/catch_test_macros.hpp>

#include "certs/issued_chain.h"
#include "certs/test_files.h"
#include "lib/tls/engine.h"

using namespace weft;
using namespace weft::certs;
using namespace weft::certs::manager;
using namespace std::chrono_literals;

namespace {

const WallTime kNow{1'800'000'000s};
const std::string kCart = "spiffe://cluster.local/ns/shop/sa/cart";
const std::string kUsers = "spiffe://cluster.local/ns/shop/sa/users";

std::shared_ptr<const Authority> fresh(TestFiles& files) {
  REQUIRE(Authority::initialise(files, "/ca", "cluster.local", kNow).has_value());
  auto authority = Authority::load(files, "/ca");
  REQUIRE(authority.has_value());
  return *authority;
}

CredentialsPtr certificate(const Authority& authority, const std::string& uri) {
  const auto key = *tls::PrivateKey::generate();
  const auto request = *tls::Request::from_pem(*tls::make_request(key, uri));
  const auto identity = *model::Identity::parse(uri);
  auto chain = authority.issue(request, identity, 1h, kNow);
  REQUIRE(chain.has_value());
  auto credentials = read_issued_chain(identity, key, *chain, 1);
  REQUIRE(credentials.has_value());
  return *credentials;
}

// Whether a client with one certificate and a server with the other complete a mutual handshake.
bool trust_each_other(const CredentialsPtr& client_credentials, const CredentialsPtr& server_credentials) {
  auto client = *tls::Engine::create(*tls::Context::create(client_credentials), tls::Role::kClient,
                                     {tls::MeshServer{{*server_credentials->identity()}}, kNow});
  auto server = *tls::Engine::create(*tls::Context::create(server_credentials), tls::Role::kServer,
                                     {tls::MeshClient{"cluster.local"}, kNow});
  bool client_done = false, server_done = false;
  for (int i = 0; i < 4 && !(client_done && server_done); ++i) {
    if (!client_done) {
      auto step = client->handshake();
      if (!step) return false;
      client_done = *step;
    }
    server->receive(client->take_output());
    auto step = server->handshake();
    if (!step) return false;
    server_done = *step;
    client->receive(server->take_output());
  }
  return client_done && server_done;
}

}  // namespace

TEST_CASE("a new folder gets a root once, its key readable by the owner only") {
  TestFiles files;
  auto first = fresh(files);
  CHECK(files.tree["/ca/ca-key.pem"].mode == 0600);
  CHECK(first->signer().is_authority());
  auto second = fresh(files);
  CHECK(first->signer() == second->signer());
  files.tree.erase("/ca/ca-key.pem");
  CHECK_FALSE(Authority::initialise(files, "/ca", "cluster.local", kNow).has_value());
}

TEST_CASE("leaves are short-lived, backdated, for both usages, and trusted by each other") {
  TestFiles files;
  auto authority = fresh(files);
  auto cart = certificate(*authority, kCart);
  CHECK(cart->not_before() == kNow - 2min);
  CHECK(cart->not_after() == kNow + 1h);
  CHECK(cart->leaf().names() == tls::AlternativeNames{.uris = {kCart}});
  CHECK(cart->chain().size() == 1);
  CHECK(trust_each_other(cart, certificate(*authority, kUsers)));
  CHECK(trust_each_other(certificate(*authority, kUsers), cart));
}

TEST_CASE("a provided intermediate signs and travels with the leaf") {
  TestFiles files;
  tls::Profile root_profile{
      .common_name = "root", .names = {}, .not_before = kNow - 1h, .not_after = kNow + 100h, .authority = true};
  const auto root_key = *tls::PrivateKey::generate(), middle_key = *tls::PrivateKey::generate(),
             key = *tls::PrivateKey::generate();
  const auto root = *tls::self_sign(root_key, root_profile);
  auto profile = root_profile;
  profile.common_name = "middle";
  const auto middle = *tls::issue(root, root_key, middle_key, profile);
  profile.common_name = "signer";
  profile.not_after = kNow + 30min;
  const auto signer = *tls::issue(middle, middle_key, key, profile);
  files.tree["/ca/ca-key.pem"].text = key.to_pem();
  files.tree["/ca/ca-cert.pem"].text = signer.to_pem();
  files.tree["/ca/cert-chain.pem"].text = signer.to_pem() + middle.to_pem() + root.to_pem();
  files.tree["/ca/root-cert.pem"].text = root.to_pem();
  auto authority = Authority::load(files, "/ca");
  REQUIRE(authority.has_value());
  auto cart = certificate(**authority, kCart);
  REQUIRE(cart->chain().size() == 3);
  CHECK(cart->not_after() == kNow + 30min);  // not beyond its signer
  CHECK(trust_each_other(cart, certificate(**authority, kUsers)));

  files.tree["/ca/cert-chain.pem"].text = signer.to_pem();
  CHECK_FALSE(Authority::load(files, "/ca").has_value());
  files.tree["/ca/cert-chain.pem"].text = middle.to_pem();
  CHECK(Authority::load(files, "/ca").has_value());
  files.tree["/ca/ca-key.pem"].text = root_key.to_pem();
  CHECK(Authority::load(files, "/ca").error().message() == "ca-key.pem does not belong to ca-cert.pem");
  files.tree["/ca/ca-key.pem"].text = "garbage";
  CHECK_FALSE(Authority::load(files, "/ca").has_value());
}

TEST_CASE("a root is rotated with overlap, and at no step do two proxies stop trusting each other") {
  TestFiles files, next_files;
  auto before = certificate(*fresh(files), kCart);
  fresh(next_files);
  const auto next = next_files.tree;
  const std::string old_root = files.tree["/ca/root-cert.pem"].text;

  files.tree["/ca/next-root-cert.pem"] = next.at("/ca/root-cert.pem");
  auto announced = certificate(**Authority::load(files, "/ca"), kUsers);
  CHECK(announced->roots().size() == 2);
  CHECK(trust_each_other(before, announced));
  CHECK(trust_each_other(announced, before));

  // By now everybody has both roots.
  auto with_both = certificate(**Authority::load(files, "/ca"), kCart);
  for (const auto& [path, content] : next) files.tree[path] = content;
  files.tree["/ca/previous-root-cert.pem"].text = old_root;
  auto switched = certificate(**Authority::load(files, "/ca"), kUsers);
  CHECK(switched->roots().size() == 2);
  CHECK_FALSE(switched->leaf().signed_by(with_both->roots().front()));
  CHECK(trust_each_other(with_both, switched));
  CHECK(trust_each_other(switched, with_both));

  auto renewed = certificate(**Authority::load(files, "/ca"), kCart);
  files.tree.erase("/ca/previous-root-cert.pem");
  files.tree.erase("/ca/next-root-cert.pem");
  auto after = certificate(**Authority::load(files, "/ca"), kUsers);
  CHECK(after->roots().size() == 1);
  CHECK(trust_each_other(renewed, after));
  CHECK(trust_each_other(after, renewed));
  // Whoever slept through the whole rotation is out.
  CHECK_FALSE(trust_each_other(before, after));
}
