// Private keys: generated for every certificate request, kept in memory by proxies, stored 0600 by the authority.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "lib/base/result.h"

struct evp_pkey_st;  // OpenSSL's EVP_PKEY

namespace weft::tls {

enum class KeyKind {
  kEcdsaP256,  // what the mesh uses
  kEd25519,    // signatures of fixed length and no random draw: lets a simulation repeat byte for byte
};

// At most this much PEM is read in one go: a trust bundle of hundreds of roots fits.
inline constexpr std::size_t kPemSizeMax = 4 * 1024 * 1024;

// Immutable handle, cheap to copy, usable from any thread. Never printed.
class PrivateKey {
 public:
  static Result<PrivateKey> generate(KeyKind kind = KeyKind::kEcdsaP256);
  // Any unencrypted PEM private key OpenSSL reads; errors are kInvalidArgument.
  static Result<PrivateKey> from_pem(std::string_view pem);
  // PKCS#8, "-----BEGIN PRIVATE KEY-----".
  std::string to_pem() const;

  // For lib/tls only.
  evp_pkey_st* native() const { return key_.get(); }

 private:
  explicit PrivateKey(std::shared_ptr<evp_pkey_st> key) : key_(std::move(key)) {}
  std::shared_ptr<evp_pkey_st> key_;
};

// `bytes` unpredictable bytes as lower-case hexadecimal, for tokens.
Result<std::string> random_token(std::size_t bytes);

}  // namespace weft::tls
