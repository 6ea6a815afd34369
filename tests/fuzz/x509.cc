// libFuzzer target: certificates, alternative names, signing requests and keys from peers, authorities and files. The first
// byte chooses the reader. Checks that what was accepted can be written and read again, and that a mesh identity comes
// only out of a certificate with exactly one URI.
#include "lib/tls/x509.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "lib/base/check.h"
#include "lib/tls/credentials.h"
#include "lib/tls/detail/openssl.h"
#include "lib/tls/verify.h"

namespace {

using namespace weft;
using namespace weft::tls;

const PrivateKey& key() {
  static const PrivateKey made = *PrivateKey::generate(KeyKind::kEd25519);
  return made;
}

void look_at(const Certificate& certificate) {
  const auto again = Certificate::from_pem(certificate.to_pem());
  WEFT_CHECK(again.has_value());
  WEFT_CHECK(*again == certificate);
  WEFT_CHECK(again->names() == certificate.names());
  WEFT_CHECK(again->serial() == certificate.serial() && again->subject() == certificate.subject());
  WEFT_CHECK(again->not_before() == certificate.not_before() && again->not_after() == certificate.not_after());
  (void)certificate.signed_by(certificate);
  WEFT_CHECK(!certificate.matches(key()));
  const auto client = check_peer(certificate.names(), MeshClient{"cluster.local"});
  if (client && *client) {
    WEFT_CHECK(certificate.names().uris.size() == 1);
    WEFT_CHECK((*client)->to_string() == certificate.names().uris.front());
    WEFT_CHECK((*client)->trust_domain == "cluster.local");
  }
  (void)check_peer(certificate.names(), MeshServer{{{"cluster.local", "shop", "cart"}}});
  (void)check_peer(certificate.names(), NamedServer{"istiod.istio-system.svc", "10.0.0.1"});
}

void der(const unsigned char* data, std::size_t size) {
  detail::CertificateHandle native(d2i_X509(nullptr, &data, static_cast<long>(size)));
  ERR_clear_error();
  if (!native) return;
  if (const auto certificate = Certificate::from_native(native.get())) look_at(*certificate);
}

detail::ExtensionHandle names_extension(const unsigned char* data, std::size_t size) {
  ASN1_OCTET_STRING* value = ASN1_OCTET_STRING_new();
  ASN1_OCTET_STRING_set(value, data, static_cast<int>(size));
  detail::ExtensionHandle made(X509_EXTENSION_create_by_NID(nullptr, NID_subject_alt_name, 0, value));
  ASN1_OCTET_STRING_free(value);
  return made;
}

// A signed certificate with these bytes as its alternative names.
void names_of_certificate(const unsigned char* data, std::size_t size) {
  static const Certificate base =
      *self_sign(key(), {.common_name = "peer", .not_before = WallTime{}, .not_after = WallTime{std::chrono::hours(24)}});
  detail::CertificateHandle native(X509_dup(base.native()));
  const auto extension = names_extension(data, size);
  X509_add_ext(native.get(), extension.get(), -1);
  unsigned char* encoded = nullptr;
  const int length = i2d_re_X509_tbs(native.get(), &encoded);
  OPENSSL_free(encoded);
  if (length <= 0 || X509_sign(native.get(), key().native(), nullptr) == 0) return;
  const auto names = alternative_names(native.get());
  const auto certificate = Certificate::from_native(native.get());
  WEFT_CHECK(!certificate || names);
  if (certificate) WEFT_CHECK(certificate->names() == *names && certificate->matches(key()));
}

// The same in a request signed by its own key, which anybody can make.
void names_of_request(const unsigned char* data, std::size_t size) {
  detail::RequestHandle native(X509_REQ_new());
  auto extension = names_extension(data, size);
  STACK_OF(X509_EXTENSION)* extensions = sk_X509_EXTENSION_new_null();
  sk_X509_EXTENSION_push(extensions, extension.get());
  const bool made = X509_REQ_set_pubkey(native.get(), key().native()) == 1 &&
                    X509_REQ_add_extensions(native.get(), extensions) == 1 &&
                    X509_REQ_sign(native.get(), key().native(), nullptr) > 0;
  sk_X509_EXTENSION_free(extensions);
  ERR_clear_error();
  if (!made) return;
  detail::BioHandle pem(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509_REQ(pem.get(), native.get());
  (void)Request::from_pem(detail::contents(pem.get()));
}

void request_der(const unsigned char* data, std::size_t size) {
  std::string text((size + 2) / 3 * 4 + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), data, static_cast<int>(size));
  std::string pem = "-----BEGIN CERTIFICATE REQUEST-----\n";
  for (int at = 0; at < length; at += 64) pem += text.substr(static_cast<std::size_t>(at), std::min(64, length - at)) + "\n";
  (void)Request::from_pem(pem + "-----END CERTIFICATE REQUEST-----\n");
}

void pem(std::string_view text) {
  const auto strict = parse_certificates(text);
  const auto lenient = parse_certificates(text, BadBlocks::kSkip);
  WEFT_CHECK(!strict || (lenient && lenient->size() == strict->size()));
  if (lenient) {
    for (const auto& certificate : *lenient) look_at(certificate);
    const auto again = parse_certificates(to_pem(*lenient));
    WEFT_CHECK(again && again->size() == lenient->size());
    (void)Credentials::create(key(), *lenient, *lenient, 1);
  }
  (void)Request::from_pem(text);
  if (const auto read = PrivateKey::from_pem(text)) WEFT_CHECK(PrivateKey::from_pem(read->to_pem()).has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto* bytes = data + 1;
  switch (data[0] % 5) {
    case 0: der(bytes, size - 1); break;
    case 1: names_of_certificate(bytes, size - 1); break;
    case 2: names_of_request(bytes, size - 1); break;
    case 3: request_der(bytes, size - 1); break;
    default: pem({reinterpret_cast<const char*>(bytes), size - 1}); break;
  }
  WEFT_CHECK(ERR_peek_error() == 0);
  return 0;
}
