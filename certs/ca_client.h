// Asks an authority for certificates over gRPC, as ztunnel asks istiod.
//
// One long-lived connection carries all calls. A fetch makes a new P-256 key and a request that names the identity; only
// the request leaves the process. The answer is checked before it becomes credentials. When the roots' folder changed, the
// next fetch reads them again and, if that works, moves to a new connection; else the old one goes on and the fetch after
// tries again.
//
// Control thread only.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "certs/auth_token.h"
#include "certs/secret_manager.h"
#include "certs/trust_roots.h"
#include "lib/grpc/channel.h"
#include "lib/grpc/dial.h"

namespace weft::certs {

struct CaClientOptions {
  std::string address;                                 // CA_ADDRESS: "https://host:port"
  std::optional<std::string> alternative_host;         // ALT_CA_HOSTNAME
  std::string cluster_id = "Kubernetes";               // sent as `clusterid` beside the token
  http2::Headers headers;                              // CA_HEADER_<name>, names lower-case
  Duration certificate_life = std::chrono::hours(24);  // SECRET_TTL, asked for; the authority may give less
  // Whether the authority is told beside the request for whom it is, as by a proxy of many pods; a proxy of one is known by
  // its token. The answer must name the identity asked for either way.
  bool impersonates = true;
  std::uint32_t mark = 0;   // SO_MARK of connections to the authority, 0 for none
  tls::ContextOptions tls;  // its alpn is "h2"
};

class CaClient final : public CertificateSource {
 public:
  // Everything given outlives the client. kInvalidArgument for an address or header that is none. Nothing is dialled and no
  // file read before the first fetch.
  static Result<std::unique_ptr<CaClient>> create(Loop& loop, io::Network& network, io::Resolver& resolver, TrustRoots roots,
                                                  AuthToken token, CaClientOptions options);
  ~CaClient() override;
  CaClient(const CaClient&) = delete;
  CaClient& operator=(const CaClient&) = delete;

  // No deadline of its own: SecretManager has one. Errors: "signing gRPC error (Unavailable): ..." with the code that
  // belongs to the status, kIdentity and kInvalidArgument for a wrong answer, kPermission for an empty token file.
  Task<Result<CredentialsPtr>> fetch(model::Identity identity, std::uint64_t generation, StopToken stop) override;

  // Ends the connection; calls under way fail. Must be awaited before destruction.
  Task<void> stop();

 private:
  CaClient(Loop& loop, io::Network& network, io::Resolver& resolver, TrustRoots roots, AuthToken token,
           CaClientOptions options, grpc::ServerAddress address);
  void refresh_roots();

  const TrustRoots roots_;
  const AuthToken token_;
  const CaClientOptions options_;
  const bool secure_;
  Result<std::shared_ptr<const tls::Context>> context_;
  bool roots_changed_ = true;
  std::unique_ptr<io::Files::Watch> watch_;
  grpc::Dialer dialer_;
  grpc::Channel channel_;
};

}  // namespace weft::certs
