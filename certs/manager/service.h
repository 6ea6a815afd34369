// The gRPC face of the authority: istio.v1.auth.IstioCertificateService/CreateCertificate, decided by issuer.h, one audit
// line and one count per request. No line carries a token, a key or a request's bytes.
#pragma once

#include "certs/manager/issuer.h"
#include "certs/manager/metrics.h"
#include "certs/manager/nodes.h"
#include "certs/manager/signing.h"
#include "lib/grpc/server.h"

namespace weft::certs::manager {

class CertificateService {
 public:
  // A request is about 1 KiB.
  static constexpr std::size_t kMessageMax = 64 * 1024;
  // Sending the request included: whoever dawdles is cut off.
  static constexpr Duration kCallTimeMax = std::chrono::seconds(10);
  // What one stranger's connection may make us hold: 16 calls at a time and 256 KiB.
  static grpc::Server::Options server_options();

  CertificateService(const Signing& signing, const Nodes& nodes, IssuerLimits limits, Metrics& metrics, const Clock& clock);
  void add_to(grpc::Server& server);

 private:
  Task<grpc::Status> create(grpc::ServerCall& call);
  grpc::Status refuse(const grpc::ServerCall& call, std::string_view reason, grpc::Status status);

  const Signing& signing_;
  const Nodes& nodes_;
  const IssuerLimits limits_;
  Metrics& metrics_;
  const Clock& clock_;
};

}  // namespace weft::certs::manager
