#include "lib/tls/key.h"

#include <openssl/rand.h>

#include "lib/tls/detail/openssl.h"

namespace weft::tls {

Result<PrivateKey> PrivateKey::generate(KeyKind kind) {
  EVP_PKEY* key = kind == KeyKind::kEd25519 ? EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519") : EVP_EC_gen("P-256");
  if (!key) return detail::fail_openssl("cannot generate a private key");
  return PrivateKey(std::shared_ptr<EVP_PKEY>(key, EVP_PKEY_free));
}

Result<PrivateKey> PrivateKey::from_pem(std::string_view pem) {
  if (pem.size() > kPemSizeMax) return fail(ErrorCode::kInvalidArgument, "private key is too large");
  auto bio = detail::reader(pem);
  EVP_PKEY* key = PEM_read_bio_PrivateKey(bio.get(), nullptr, detail::no_pass_phrase, nullptr);
  if (!key) return fail(ErrorCode::kInvalidArgument, "not a PEM private key: " + detail::take_error_text());
  return PrivateKey(std::shared_ptr<EVP_PKEY>(key, EVP_PKEY_free));
}

std::string PrivateKey::to_pem() const {
  detail::BioHandle bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PKCS8PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return detail::contents(bio.get());
}

Result<std::string> random_token(std::size_t bytes) {
  std::string raw(bytes, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(raw.data()), static_cast<int>(bytes)) != 1) {
    return detail::fail_openssl("no randomness");
  }
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const char c : raw) {
    text += kDigits[static_cast<unsigned char>(c) >> 4];
    text += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return text;
}

}  // namespace weft::tls
