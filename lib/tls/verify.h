// Who the other side must be, decided over a certificate whose chain already verified. Pure.
//
// Mesh peers are known by SPIFFE identity alone, never by DNS name or address; a mesh leaf carries exactly one URI name
// (SPIFFE X.509-SVID section 2). Control-plane servers are known by DNS name or IP address (RFC 6125, RFC 9525).
// Chain, key usage and validity are OpenSSL's part, at the time given here.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/model/identity.h"
#include "lib/tls/x509.h"

namespace weft::tls {

// A server that asks its clients for no certificate.
struct AnyClient {};
// A mesh server's view: the client belongs to this trust domain. "" skips the check, for a server without an identity.
struct MeshClient {
  std::string trust_domain;
};
// A mesh client's view: the server is one of these. An empty list never succeeds.
struct MeshServer {
  std::vector<model::Identity> expected;
};
// A control-plane client's view: the certificate names `host` (DNS or IP) or, failing that, `alternative`.
struct NamedServer {
  std::string host;
  std::optional<std::string> alternative;
};

using Expectation = std::variant<AnyClient, MeshClient, MeshServer, NamedServer>;

struct Verification {
  Expectation expectation;
  WallTime now;  // validity is judged at this time
};

// The peer's identity when its certificate meets the expectation; nullopt for peers that need none. Errors are kIdentity
// with ztunnel's texts.
Result<std::optional<model::Identity>> check_peer(const AlternativeNames& names, const Expectation& expectation);

// "example.org" or "*.example.org" (one whole leftmost label) against a host name, case-insensitive.
bool matches_dns_name(std::string_view pattern, std::string_view host);

}  // namespace weft::tls
