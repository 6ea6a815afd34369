// What one generation of credentials implies for every handshake: versions, suites, groups, certificate, roots.
//
// Building one costs about as much as a handshake, so a worker keeps one per generation. Immutable after create(); usable
// from several threads, though one per worker avoids contention on OpenSSL's reference counts.
//
// TLS 1.3 only unless asked otherwise; AES-128-GCM first, the server's order decides; no tickets, no resumption, no 0-RTT,
// no SNI from mesh clients. X25519MLKEM768 leads where the OpenSSL at run time knows it, else X25519.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/tls/credentials.h"

struct ssl_ctx_st;  // OpenSSL's SSL_CTX

namespace weft::tls {

struct ContextOptions {
  bool tls12 = false;              // TLS12_ENABLED: TLS 1.2 besides 1.3
  bool post_quantum_only = false;  // COMPLIANCE_POLICY=pqc: X25519MLKEM768 and nothing else
  // What a client offers and a server accepts; a server tolerates clients that offer nothing. Empty: no ALPN.
  std::vector<std::string> alpn = {"h2"};
  // After a TLS 1.3 handshake our own record layer takes over (records.h): fewer copies, 20 KiB less a connection.
  bool own_records = false;
};

// Whether this OpenSSL has the X25519MLKEM768 key exchange (3.5 and later).
bool post_quantum_available();
// "OpenSSL 3.0.19 27 Jan 2026", of the library at run time.
std::string library_version();

class Context {
 public:
  // Shows the credentials' chain and trusts their roots; for both roles. kUnsupported when `post_quantum_only` asks for
  // more than this OpenSSL can do.
  static Result<std::shared_ptr<const Context>> create(std::shared_ptr<const Credentials> credentials,
                                                       const ContextOptions& options = {});
  // For clients without a certificate: control-plane connections. No roots given: those of the operating system.
  static Result<std::shared_ptr<const Context>> for_client(const std::vector<Certificate>& roots,
                                                           const ContextOptions& options = {});

  // Null for for_client().
  const std::shared_ptr<const Credentials>& credentials() const { return credentials_; }
  const std::vector<std::string>& alpn() const { return alpn_; }
  bool own_records() const { return own_records_; }
  ssl_ctx_st* native() const { return native_.get(); }

 private:
  Context() = default;
  static Result<std::shared_ptr<Context>> build(const std::vector<Certificate>& roots, const ContextOptions& options);

  std::shared_ptr<ssl_ctx_st> native_;
  std::shared_ptr<const Credentials> credentials_;
  std::vector<std::string> alpn_;
  bool own_records_ = false;
  std::string alpn_wire_;  // length-prefixed names, RFC 7301
};

}  // namespace weft::tls
