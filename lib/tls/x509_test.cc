#include "lib/tls/x509.h"

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "lib/tls/detail/openssl.h"
#include "lib/tls/test_authority.h"

using namespace weft;
using namespace weft::tls;

namespace {
const WallTime kNow{std::chrono::seconds(1'800'000'000)};
const std::string kUri = "spiffe://cluster.local/ns/shop/sa/cart";
}  // namespace

TEST_CASE("a key survives its PKCS#8 form") {
  auto key = PrivateKey::generate();
  REQUIRE(key);
  const std::string pem = key->to_pem();
  CHECK(pem.starts_with("-----BEGIN PRIVATE KEY-----"));
  auto again = PrivateKey::from_pem(pem);
  REQUIRE(again);
  CHECK(again->to_pem() == pem);
  CHECK_FALSE(PrivateKey::from_pem("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"));
  CHECK_FALSE(PrivateKey::from_pem(""));
}

TEST_CASE("a request names exactly one URI and proves its key") {
  auto key = PrivateKey::generate();
  REQUIRE(key);
  auto pem = make_request(*key, kUri);
  REQUIRE(pem);
  CHECK(pem->starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
  auto request = Request::from_pem(*pem);
  REQUIRE(request);
  CHECK(request->names() == AlternativeNames{.uris = {kUri}});
}

TEST_CASE("a request has its name in one extension, which is critical") {
  auto key = PrivateKey::generate();
  REQUIRE(key);
  auto pem = make_request(*key, kUri);
  REQUIRE(pem);
  const auto bio = detail::reader(*pem);
  detail::RequestHandle request(PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr));
  REQUIRE(request);
  auto* extensions = X509_REQ_get_extensions(request.get());
  REQUIRE(X509v3_get_ext_count(extensions) == 1);
  auto* names = X509v3_get_ext(extensions, 0);
  CHECK(OBJ_obj2nid(X509_EXTENSION_get_object(names)) == NID_subject_alt_name);
  CHECK(X509_EXTENSION_get_critical(names) == 1);
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
}

TEST_CASE("a request with a broken signature is refused") {
  auto key = PrivateKey::generate();
  auto pem = make_request(*key, kUri);
  REQUIRE(pem);
  // The signature is at the end; changing its last full line breaks it and keeps the structure.
  const std::size_t at = pem->find("\n-----END") - 12;
  (*pem)[at] = (*pem)[at] == 'A' ? 'B' : 'A';
  auto request = Request::from_pem(*pem);
  REQUIRE_FALSE(request);
  CHECK(request.error().code() == ErrorCode::kInvalidArgument);
}

TEST_CASE("an issued certificate says what its profile asked for") {
  TestAuthority authority(kNow);
  auto key = PrivateKey::generate();
  auto pem = make_request(*key, kUri);
  auto request = Request::from_pem(*pem);
  REQUIRE(request);
  auto ip = IpAddress::parse("10.1.2.3");
  Profile profile = authority.leaf({.uris = {kUri}, .dns = {"cart.shop"}, .ips = {*ip}});
  auto certificate = issue(authority.root(), authority.key(), *request, profile);
  REQUIRE(certificate);
  CHECK(certificate->names() == profile.names);
  CHECK(certificate->not_before() == profile.not_before);
  CHECK(certificate->not_after() == profile.not_after);
  CHECK(certificate->subject().empty());
  CHECK(certificate->issuer() == "CN=test root");
  CHECK_FALSE(certificate->is_authority());
  CHECK(authority.root().is_authority());
  CHECK(certificate->matches(*key));
  CHECK_FALSE(certificate->matches(authority.key()));
  CHECK(certificate->signed_by(authority.root()));
  CHECK_FALSE(certificate->signed_by(*certificate));
  CHECK(certificate->serial().find_first_not_of("0123456789") == std::string::npos);
  auto again = Certificate::from_pem(certificate->to_pem());
  REQUIRE(again);
  CHECK(*again == *certificate);
}

TEST_CASE("a bundle is read block by block, skipping or refusing what does not decode") {
  TestAuthority one(kNow, "one"), two(kNow, "two");
  const std::string broken = "-----BEGIN CERTIFICATE-----\nAAAAAAAA\n-----END CERTIFICATE-----\n";
  const std::string bundle = "text before\n" + one.root().to_pem() + broken + two.root().to_pem();
  CHECK_FALSE(parse_certificates(bundle));
  auto roots = parse_certificates(bundle, BadBlocks::kSkip);
  REQUIRE(roots);
  REQUIRE(roots->size() == 2);
  CHECK((*roots)[0].subject() == "CN=one");
  CHECK((*roots)[1].subject() == "CN=two");
  CHECK(parse_certificates(to_pem(*roots))->size() == 2);
  CHECK_FALSE(parse_certificates(""));
  CHECK_FALSE(parse_certificates(broken, BadBlocks::kSkip));
}

TEST_CASE("what is encrypted is refused, and nobody is asked for a pass phrase") {
  const std::string encrypted = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\nAAAA\n";
  const auto block = [&](const std::string& kind) {
    return "-----BEGIN " + kind + "-----\n" + encrypted + "-----END " + kind + "-----\n";
  };
  const auto certificate = Certificate::from_pem(block("CERTIFICATE"));
  REQUIRE_FALSE(certificate);
  CHECK(certificate.error().message() == "not a PEM certificate: bad password read");
  CHECK_FALSE(Request::from_pem(block("CERTIFICATE REQUEST")));
  // Not even under an empty phrase.
  auto key = PrivateKey::generate();
  REQUIRE(key);
  detail::BioHandle bio(BIO_new(BIO_s_mem()));
  REQUIRE(PEM_write_bio_PKCS8PrivateKey(bio.get(), key->native(), EVP_aes_128_cbc(), "", 0, nullptr, nullptr) == 1);
  CHECK_FALSE(PrivateKey::from_pem(detail::contents(bio.get())));
}

TEST_CASE("a serial number of thousands of digits is refused before it is spelt out") {
  TestAuthority authority(kNow);
  detail::CertificateHandle native(X509_dup(authority.root().native()));
  const auto with_serial = [&](int bits) {
    detail::BignumHandle serial(BN_new());
    REQUIRE(BN_set_bit(serial.get(), bits) == 1);
    REQUIRE(BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(native.get())));
    REQUIRE(X509_sign(native.get(), authority.key().native(), EVP_sha256()) > 0);
    return Certificate::from_native(native.get());
  };
  CHECK(with_serial(159).has_value());
  const auto overlong = with_serial(100'000);
  REQUIRE_FALSE(overlong);
  CHECK(overlong.error().message() == "certificate has an overlong serial number");
}

TEST_CASE("hostile PEM is an error, cut anywhere") {
  TestAuthority authority(kNow);
  const std::string pem = authority.root().to_pem();
  for (std::size_t size = 0; size + 26 < pem.size(); size += 7) {
    CHECK_FALSE(Certificate::from_pem(std::string_view(pem).substr(0, size)));
  }
  CHECK_FALSE(Certificate::from_pem(std::string(kPemSizeMax + 1, 'A')));
  // Flipped bytes either fail or give some certificate; they never crash.
  for (std::size_t at = 30; at + 40 < pem.size(); at += 5) {
    std::string hostile = pem;
    hostile[at] = hostile[at] == 'M' ? 'N' : 'M';
    auto parsed = Certificate::from_pem(hostile);
    if (parsed) CHECK((!parsed->signed_by(authority.root()) || *parsed == authority.root()));
  }
}

TEST_CASE("credentials need a chain, a root and the right key") {
  TestAuthority authority(kNow);
  auto good = authority.credentials(kUri, 7);
  CHECK(good->generation() == 7);
  REQUIRE(good->identity());
  CHECK(good->identity()->to_string() == kUri);
  CHECK_FALSE(Credentials::create(good->key(), {}, {authority.root()}, 1));
  CHECK_FALSE(Credentials::create(good->key(), good->chain(), {}, 1));
  CHECK_FALSE(Credentials::create(authority.key(), good->chain(), {authority.root()}, 1));
}

namespace {
// A certificate file of Istio's own tests; "" when they are not at hand.
std::string fixture(const std::string& name) {
  const char* shared = std::getenv("WEFT_SHARED");
  if (!shared) return {};
  std::ifstream file(std::string(shared) + "/fixtures/certificates/" + name);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}
}  // namespace

TEST_CASE("certificates of Istio's authority are read and verify") {
  if (fixture("workload-cert.pem").empty()) SKIP("no fixtures");
  auto leaf = Certificate::from_pem(fixture("workload-cert.pem"));
  auto root = Certificate::from_pem(fixture("self-signed-root-cert.pem"));
  REQUIRE(leaf.has_value());
  REQUIRE(root.has_value());
  CHECK(leaf->signed_by(*root));
  CHECK(Certificate::from_pem(fixture("ec-workload-cert.pem"))
            ->signed_by(*Certificate::from_pem(fixture("ec-root-cert.pem"))));
  CHECK_FALSE(Certificate::from_pem(fixture("cert-parse-fail.pem")).has_value());
  for (const std::string prefix : {"", "ecc-"}) {
    auto chain = parse_certificates(fixture("multilevelpki/" + prefix + "int2-cert-chain.pem"));
    auto top = Certificate::from_pem(fixture("multilevelpki/" + prefix + "root-cert.pem"));
    REQUIRE(chain.has_value());
    REQUIRE(top.has_value());
    REQUIRE(chain->size() == 3);  // the root first
    CHECK((*chain)[0] == *top);
    CHECK((*chain)[1].signed_by(*top));
    CHECK((*chain)[2].signed_by((*chain)[1]));
  }
}
