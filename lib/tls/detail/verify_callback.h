// Joins OpenSSL's chain verification with verify.h, so that a refused peer is told by a TLS alert.
#pragma once

#include <array>
#include <optional>

#include "lib/tls/detail/openssl.h"
#include "lib/tls/verify.h"

namespace weft::tls::detail {

// The application traffic secrets, kept only until the handshake is complete.
struct TrafficSecrets {
  std::array<std::uint8_t, 48> client{}, server{};
  std::size_t client_size = 0, server_size = 0;
  ~TrafficSecrets() { clear(); }
  void clear();
};

// One connection's question and answer; its SSL object points here (SSL_set_app_data).
struct PeerCheck {
  Verification verification;
  std::optional<model::Identity> identity;  // filled when the peer passed
  std::optional<Error> error;               // filled when it did not
  TrafficSecrets secrets;
};

// SSL_CTX_set_cert_verify_callback's function: 1 when the peer passed.
int verify_peer(X509_STORE_CTX* store, void* unused);

// SSL_CTX_set_keylog_callback's function: picks the two secrets out of the lines of NSS's key log format.
void keep_secret(const SSL* ssl, const char* line);

}  // namespace weft::tls::detail
