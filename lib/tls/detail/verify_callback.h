// Joins OpenSSL's chain verification with verify.h, so that a refused peer is told by a TLS alert.
#pragma once

#include <optional>

#include "lib/tls/detail/openssl.h"
#include "lib/tls/verify.h"

namespace weft::tls::detail {

// One connection's question and answer; its SSL object points here (SSL_set_app_data).
struct PeerCheck {
  Verification verification;
  std::optional<model::Identity> identity;  // filled when the peer passed
  std::optional<Error> error;               // filled when it did not
};

// SSL_CTX_set_cert_verify_callback's function: 1 when the peer passed.
int verify_peer(X509_STORE_CTX* store, void* unused);

}  // namespace weft::tls::detail
