#include "lib/tls/engine.h"

#include <catch2/catch_test_macros.hpp>

#include "lib/base/random.h"
#include "lib/tls/test_authority.h"

using namespace weft;
using namespace weft::tls;

namespace {

const WallTime kNow{std::chrono::seconds(1'800'000'000)};
const std::string kCart = "spiffe://cluster.local/ns/shop/sa/cart";
const std::string kUsers = "spiffe://cluster.local/ns/shop/sa/users";

// Every case runs with OpenSSL's record protection and with ours, and one of each.
enum class Records { kOpenssl, kOwn };
Records client_records = Records::kOpenssl, server_records = Records::kOpenssl;

std::shared_ptr<const Context> context(std::shared_ptr<const Credentials> credentials, ContextOptions options = {}) {
  const bool is_server = credentials->identity() && credentials->identity()->service_account == "users";
  options.own_records = (is_server ? server_records : client_records) == Records::kOwn;
  auto made = Context::create(std::move(credentials), options);
  REQUIRE(made);
  return *made;
}

Expectation server_named(const std::string& uri) { return MeshServer{{*model::Identity::parse(uri)}}; }

// A client and a server engine, wired to each other.
struct Pair {
  std::unique_ptr<Engine> client, server;
  std::optional<Error> client_error, server_error;
  bool client_done = false, server_done = false;

  Pair(std::shared_ptr<const Context> client_context, Expectation client_expects,
       std::shared_ptr<const Context> server_context, Expectation server_expects = MeshClient{"cluster.local"}) {
    auto made_client = Engine::create(std::move(client_context), Role::kClient, {std::move(client_expects), kNow});
    auto made_server = Engine::create(std::move(server_context), Role::kServer, {std::move(server_expects), kNow});
    REQUIRE(made_client);
    REQUIRE(made_server);
    client = std::move(*made_client);
    server = std::move(*made_server);
    for (int flight = 0; flight < 8; ++flight) {
      step(*client, *server, client_done, client_error);
      step(*server, *client, server_done, server_error);
    }
  }
  static void step(Engine& from, Engine& to, bool& done, std::optional<Error>& error) {
    if (!done && !error) {
      auto result = from.handshake();
      if (!result) {
        error = std::move(result).error();
      } else {
        done = *result;
      }
    }
    to.receive(from.take_output());
  }
  bool complete() const { return client_done && server_done && !client_error && !server_error; }
};

std::string decrypt_all(Engine& engine) {
  BufferChain plain;
  auto result = engine.decrypt(plain);
  REQUIRE(result);
  return plain.to_string();
}

#define TLS_CASE(name)                                  \
  static void WEFT_CONCAT(tls_case_, __LINE__)();       \
  TEST_CASE(name) {                                     \
    for (const int mode : {0, 1, 2, 3}) {               \
      INFO("own records: " << mode);                    \
      client_records = static_cast<Records>(mode & 1);  \
      server_records = static_cast<Records>(mode >> 1); \
      WEFT_CONCAT(tls_case_, __LINE__)();               \
    }                                                   \
  }                                                     \
  static void WEFT_CONCAT(tls_case_, __LINE__)()

}  // namespace

TLS_CASE("two mesh members agree on TLS 1.3, AES-128-GCM and h2, and know each other") {
  TestAuthority authority(kNow);
  Pair pair(context(authority.credentials(kCart)), server_named(kUsers), context(authority.credentials(kUsers)));
  REQUIRE(pair.complete());
  CHECK(pair.client->version() == "TLSv1.3");
  CHECK(pair.client->cipher() == "TLS_AES_128_GCM_SHA256");
  CHECK(pair.client->group() == (post_quantum_available() ? "X25519MLKEM768" : "X25519"));
  CHECK(pair.client->alpn() == "h2");
  CHECK(pair.server->alpn() == "h2");
  CHECK(pair.server->peer_identity()->to_string() == kCart);
  CHECK(pair.client->peer_identity()->to_string() == kUsers);
  CHECK(pair.server->peer_certificate()->names().uris.front() == kCart);

  CHECK(pair.client->uses_own_records() == (client_records == Records::kOwn));
  CHECK(pair.server->uses_own_records() == (server_records == Records::kOwn));

  REQUIRE(pair.client->encrypt(BufferChain(Buffer::literal("ping"))));
  pair.server->receive(pair.client->take_output());
  CHECK(decrypt_all(*pair.server) == "ping");
  REQUIRE(pair.server->encrypt(BufferChain(Buffer::literal("pong"))));
  pair.client->receive(pair.server->take_output());
  CHECK(decrypt_all(*pair.client) == "pong");
  CHECK_FALSE(pair.client->has_output());
}

TLS_CASE("keys with signatures of fixed length serve the same handshake") {
  TestAuthority authority(kNow, "root", KeyKind::kEd25519);
  Pair pair(context(authority.credentials(kCart)), server_named(kUsers), context(authority.credentials(kUsers)));
  CHECK(pair.complete());
}

TLS_CASE("a client that is not who the mesh expects is refused by the server") {
  TestAuthority authority(kNow), foreign(kNow, "foreign root");
  auto server = context(authority.credentials(kUsers));
  struct Row {
    std::string what;
    std::shared_ptr<const Credentials> client;
    ErrorCode code;
    std::string text;
  };
  auto expired = authority.leaf({.uris = {kCart}});
  expired.not_after = kNow - std::chrono::seconds(1);
  auto future = authority.leaf({.uris = {kCart}});
  future.not_before = kNow + std::chrono::minutes(1);
  auto server_only = authority.leaf({.uris = {kCart}});
  server_only.client_auth = false;
  // A leaf of a foreign authority in a chain that trusts our root: only the server's view matters.
  auto stranger = foreign.credentials(kCart);
  auto foreign_leaf = Credentials::create(stranger->key(), stranger->chain(), {authority.root()}, 1);
  REQUIRE(foreign_leaf);
  const Row rows[] = {
      {"foreign root", *foreign_leaf, ErrorCode::kTls, "unable to get local issuer certificate"},
      {"foreign trust domain", authority.credentials("spiffe://other/ns/shop/sa/cart"), ErrorCode::kIdentity,
       "identity verification error: peer did not present the expected trustdomain (cluster.local), got "
       "spiffe://other/ns/shop/sa/cart"},
      {"two URIs", authority.credentials(authority.leaf({.uris = {kCart, kUsers}})), ErrorCode::kIdentity,
       "peer did not present exactly one URI SAN"},
      {"no URI", authority.credentials(authority.leaf({.dns = {"cart"}})), ErrorCode::kIdentity, "expected trustdomain"},
      {"expired", authority.credentials(expired), ErrorCode::kTls, "certificate has expired"},
      {"not yet valid", authority.credentials(future), ErrorCode::kTls, "certificate is not yet valid"},
      {"no clientAuth", authority.credentials(server_only), ErrorCode::kTls, "invalid peer certificate"},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    Pair pair(context(row.client), server_named(kUsers), server);
    REQUIRE(pair.server_error);
    CHECK(pair.server_error->code() == row.code);
    INFO(pair.server_error->message());
    CHECK(pair.server_error->message().find(row.text) != std::string::npos);
    // TLS 1.3: the client is done before the server looks at its certificate; the alert follows.
    BufferChain plain;
    auto read = pair.client->decrypt(plain);
    REQUIRE_FALSE(read);
    CHECK(read.error().message().starts_with("tls error: received fatal alert: "));
  }
}

TLS_CASE("a chain of five certificates is looked at, one of six or a message beyond 64 KiB is not") {
  TestAuthority authority(kNow);
  auto server = context(authority.credentials(kUsers));
  auto chain_of = [&](int certificates) {
    Profile intermediate{.common_name = "intermediate",
                         .not_before = kNow - std::chrono::hours(1),
                         .not_after = kNow + std::chrono::hours(1),
                         .authority = true};
    std::vector<Certificate> chain;
    Certificate issuer = authority.root();
    PrivateKey issuer_key = authority.key();
    for (int i = 0; i < certificates; ++i) {
      auto key = PrivateKey::generate(KeyKind::kEcdsaP256);
      REQUIRE(key);
      intermediate.common_name = "intermediate " + std::to_string(i);
      auto made = issue(issuer, issuer_key, *key, i + 1 == certificates ? authority.leaf({.uris = {kCart}}) : intermediate);
      REQUIRE(made);
      chain.insert(chain.begin(), *made);
      issuer = *made;
      issuer_key = *key;
    }
    auto credentials = Credentials::create(issuer_key, std::move(chain), {authority.root()}, 1);
    REQUIRE(credentials);
    return *credentials;
  };
  Pair honest(context(chain_of(5)), server_named(kUsers), server);
  CHECK(honest.complete());
  Pair six(context(chain_of(6)), server_named(kUsers), server);
  REQUIRE(six.server_error);
  CHECK(six.server_error->message().find("more than 5 in its chain") != std::string::npos);

  AlternativeNames many{.uris = {kCart}};
  for (int i = 0; i < 3000; ++i) many.dns.push_back("a-name-of-thirty-bytes." + std::to_string(10'000'000 + i));
  Pair large(context(authority.credentials(authority.leaf(std::move(many)))), server_named(kUsers), server);
  REQUIRE(large.server_error);
  INFO(large.server_error->message());
  CHECK(large.server_error->message().find("excessive message size") != std::string::npos);
}

TLS_CASE("no identity comes of a name with a NUL, another case or a path too many") {
  TestAuthority authority(kNow);
  auto server = context(authority.credentials(kUsers));
  using namespace std::string_literals;
  for (const auto& uri : {"spiffe://cluster.local/ns/shop/sa/cart\0.evil"s, "SPIFFE://cluster.local/ns/shop/sa/cart"s,
                          "spiffe://cluster.local/ns/shop/sa/cart/more"s, "spiffe://Cluster.Local/ns/shop/sa/cart"s}) {
    INFO(uri);
    Pair pair(context(authority.credentials(authority.leaf({.uris = {uri}}))), server_named(kUsers), server);
    const bool refused = pair.server_error.has_value();
    // Whoever is let in is somebody else than the name it imitates.
    if (!refused) CHECK(pair.server->peer_identity()->to_string() != kCart);
    CHECK((refused || pair.server->peer_identity().has_value()));
  }
}

TLS_CASE("a client without a certificate is refused") {
  TestAuthority authority(kNow);
  auto nobody = Context::for_client({authority.root()});
  REQUIRE(nobody);
  Pair pair(*nobody, server_named(kUsers), context(authority.credentials(kUsers)));
  REQUIRE(pair.server_error);
  CHECK(pair.server_error->code() == ErrorCode::kTls);
  CHECK(pair.server_error->message() == "tls handshake error: peer sent no certificates");
}

TLS_CASE("a server that is not who the client expects is refused and told") {
  TestAuthority authority(kNow), foreign(kNow, "foreign root");
  auto client = context(authority.credentials(kCart));
  auto expired = authority.leaf({.uris = {kUsers}});
  expired.not_after = kNow - std::chrono::seconds(1);
  auto client_only = authority.leaf({.uris = {kUsers}});
  client_only.server_auth = false;
  struct Row {
    std::string what;
    std::shared_ptr<const Credentials> server;
    ErrorCode code;
  };
  const Row rows[] = {
      {"wrong SAN", authority.credentials(kCart), ErrorCode::kIdentity},
      {"two URIs", authority.credentials(authority.leaf({.uris = {kUsers, kCart}})), ErrorCode::kIdentity},
      {"DNS only", authority.credentials(authority.leaf({.dns = {"users"}})), ErrorCode::kIdentity},
      {"foreign root", foreign.credentials(kUsers), ErrorCode::kTls},
      {"expired", authority.credentials(expired), ErrorCode::kTls},
      {"no serverAuth", authority.credentials(client_only), ErrorCode::kTls},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    Pair pair(client, server_named(kUsers), context(row.server));
    REQUIRE(pair.client_error);
    CHECK(pair.client_error->code() == row.code);
    REQUIRE(pair.server_error);
    CHECK(pair.server_error->message().starts_with("tls handshake error: received fatal alert: "));
  }
  Pair nobody_expected(client, MeshServer{}, context(authority.credentials(kUsers)));
  CHECK(nobody_expected.client_error);
}

TLS_CASE("a control-plane client shows no certificate and checks the server's name") {
  TestAuthority authority(kNow);
  auto server = context(authority.credentials(authority.leaf({.dns = {"istiod.istio-system.svc"}})));
  auto client = Context::for_client({authority.root()});
  REQUIRE(client);
  CHECK(Pair(*client, NamedServer{"istiod.istio-system.svc", {}}, server, AnyClient{}).complete());
  CHECK(Pair(*client, NamedServer{"localhost", "istiod.istio-system.svc"}, server, AnyClient{}).complete());
  CHECK(Pair(*client, NamedServer{"localhost", {}}, server, AnyClient{}).client_error->code() == ErrorCode::kIdentity);
}

TLS_CASE("TLS 1.2 is refused unless both sides opted in") {
  TestAuthority authority(kNow);
  auto modern = context(authority.credentials(kUsers));
  auto both = context(authority.credentials(kCart), {.tls12 = true});
  Pair pair(both, server_named(kUsers), modern);
  CHECK(pair.complete());
  CHECK(pair.client->version() == "TLSv1.3");
  // The 1.2-only peer itself is tried with the openssl program, stream_test.cc.
}

TLS_CASE("ALPN: another protocol is refused, none is tolerated") {
  TestAuthority authority(kNow);
  auto server = context(authority.credentials(kUsers));
  Pair wrong(context(authority.credentials(kCart), {.alpn = {"http/1.1"}}), server_named(kUsers), server);
  CHECK(wrong.server_error);
  CHECK(wrong.client_error);
  Pair none(context(authority.credentials(kCart), {.alpn = {}}), server_named(kUsers), server);
  CHECK(none.complete());
  CHECK(none.server->alpn().empty());
}

TLS_CASE("post-quantum compliance is either met or an error at the start") {
  TestAuthority authority(kNow);
  auto strict = Context::create(authority.credentials(kCart), {.post_quantum_only = true});
  CHECK(strict.has_value() == post_quantum_available());
  if (!strict) {
    CHECK(strict.error().code() == ErrorCode::kUnsupported);
    return;
  }
  Pair pair(*strict, server_named(kUsers), context(authority.credentials(kUsers)));
  REQUIRE(pair.complete());
  CHECK(pair.client->group() == "X25519MLKEM768");
}

TLS_CASE("plain text and noise instead of a handshake end in a clear error") {
  TestAuthority authority(kNow);
  auto server_context = context(authority.credentials(kUsers));
  SeededRandom random(3);
  for (int round = 0; round < 200; ++round) {
    auto server = Engine::create(server_context, Role::kServer, {MeshClient{"cluster.local"}, kNow});
    REQUIRE(server);
    std::string noise = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    if (round > 0) {
      noise.assign(1 + random.below(600), '\0');
      for (char& c : noise) c = static_cast<char>(random.next());
      if (round % 2)
        noise.replace(0, std::min<std::size_t>(3, noise.size()), "\x16\x03\x01", std::min<std::size_t>(3, noise.size()));
    }
    (*server)->receive(BufferChain(Buffer::copy_of(noise)));
    (*server)->receive_end();
    auto result = (*server)->handshake();
    REQUIRE_FALSE(result);
    CHECK(result.error().code() == ErrorCode::kTls);
    if (round == 0)
      CHECK(result.error().message() == "tls handshake error: received corrupt message: plain-text HTTP request");
  }
}

TLS_CASE("bytes arrive whole and in order however they are cut") {
  TestAuthority authority(kNow);
  Pair pair(context(authority.credentials(kCart)), server_named(kUsers), context(authority.credentials(kUsers)));
  REQUIRE(pair.complete());
  // Several key exchanges on the way.
  pair.client->set_records_per_key(37);
  SeededRandom random(11);
  std::string sent, received;
  for (int round = 0; round < 300; ++round) {
    BufferChain plain;
    for (std::uint64_t slices = random.below(8); slices-- > 0;) {
      std::string text(random.below(random.below(2) ? 100 : 40'000), 'x');
      for (char& c : text) c = static_cast<char>(random.next());
      sent += text;
      plain.append(Buffer::copy_of(text));
    }
    REQUIRE(pair.client->encrypt(std::move(plain)));
    BufferChain wire = pair.client->take_output();
    while (!wire.empty()) {
      pair.server->receive(wire.split(1 + random.below(30'000)));
      BufferChain out;
      REQUIRE(pair.server->decrypt(out));
      received += out.to_string();
    }
  }
  CHECK(received == sent);
  pair.server->receive(pair.client->take_output());
  CHECK_FALSE(pair.server->ended());
}

TLS_CASE("slices are gathered into full records, and full records arrive in one slice each") {
  TestAuthority authority(kNow);
  Pair pair(context(authority.credentials(kCart)), server_named(kUsers), context(authority.credentials(kUsers)));
  REQUIRE(pair.complete());
  // As HTTP/2 writes: a 9-byte header and 16,375 bytes of payload, eight times.
  const std::string header(9, 'h'), payload(16'375, 'p');
  BufferChain frames;
  for (int i = 0; i < 8; ++i) {
    frames.append(Buffer::copy_of(header));
    frames.append(Buffer::copy_of(payload));
  }
  REQUIRE(pair.client->encrypt(std::move(frames)));
  BufferChain wire = pair.client->take_output();
  CHECK(wire.size() == 8 * (kRecordSizeMax + kRecordOverhead));
  pair.server->receive(std::move(wire));
  BufferChain plain;
  REQUIRE(pair.server->decrypt(plain));
  REQUIRE(plain.slice_count() == 8);
  for (std::size_t i = 0; i < 8; ++i) CHECK(plain.slice(i).size() == kRecordSizeMax);
}

TLS_CASE("a small result does not pin a large block") {
  TestAuthority authority(kNow);
  Pair pair(context(authority.credentials(kCart)), server_named(kUsers), context(authority.credentials(kUsers)));
  REQUIRE(pair.client->encrypt(BufferChain(Buffer::literal("x"))));
  BufferChain wire = pair.client->take_output();
  CHECK(wire.front().block_capacity() < 1024);
  pair.server->receive(std::move(wire));
  BufferChain plain;
  REQUIRE(pair.server->decrypt(plain));
  CHECK(plain.front().block_capacity() < 1024);
}

TLS_CASE("close_notify ends one direction, a missing one is an error") {
  TestAuthority authority(kNow);
  Pair pair(context(authority.credentials(kCart)), server_named(kUsers), context(authority.credentials(kUsers)));
  REQUIRE(pair.client->encrypt(BufferChain(Buffer::literal("last"))));
  pair.client->close_notify();
  pair.server->receive(pair.client->take_output());
  CHECK(decrypt_all(*pair.server) == "last");
  CHECK(pair.server->ended());
  REQUIRE(pair.server->encrypt(BufferChain(Buffer::literal("answer"))));
  pair.client->receive(pair.server->take_output());
  CHECK(decrypt_all(*pair.client) == "answer");
  // The server's end is cut off.
  REQUIRE(pair.server->encrypt(BufferChain(Buffer::literal("more"))));
  pair.client->receive(pair.server->take_output());
  pair.client->receive_end();
  BufferChain plain;
  auto cut = pair.client->decrypt(plain);
  CHECK(plain.to_string() == "more");
  REQUIRE_FALSE(cut);
  CHECK(cut.error().code() == ErrorCode::kClosed);
}

TLS_CASE("a flipped bit in a record is an error and an alert") {
  TestAuthority authority(kNow);
  Pair pair(context(authority.credentials(kCart)), server_named(kUsers), context(authority.credentials(kUsers)));
  REQUIRE(pair.client->encrypt(BufferChain(Buffer::literal("secret"))));
  std::string wire = pair.client->take_output().to_string();
  wire.back() = static_cast<char>(wire.back() ^ 1);
  pair.server->receive(BufferChain(Buffer::copy_of(wire)));
  BufferChain plain;
  auto result = pair.server->decrypt(plain);
  REQUIRE_FALSE(result);
  CHECK(result.error().code() == ErrorCode::kTls);
  CHECK(plain.empty());
  CHECK(pair.server->has_output());
  CHECK_FALSE(pair.server->encrypt(BufferChain(Buffer::literal("x"))));
}
