#include "certs/manager/service.h"

#include "ca.pb.h"
#include "lib/base/log.h"

namespace weft::certs::manager {
namespace {

constexpr const char* kMethod = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
constexpr const char* kImpersonated = "ImpersonatedIdentity";

grpc::Code code_of(Refusal::Reason reason) {
  switch (reason) {
    case Refusal::Reason::kUnauthenticated: return grpc::Code::kUnauthenticated;
    case Refusal::Reason::kInvalidArgument: return grpc::Code::kInvalidArgument;
    case Refusal::Reason::kPermissionDenied: return grpc::Code::kPermissionDenied;
    case Refusal::Reason::kInternal: return grpc::Code::kInternal;
  }
  return grpc::Code::kInternal;
}

// kInvalidArgument for bytes that are no request, or a metadata entry that is no text.
Result<SigningRequest> decode(const http2::Headers& metadata, const std::string& bytes) {
  istio::v1::auth::IstioCertificateRequest message;
  if (!message.ParseFromString(bytes)) return fail(ErrorCode::kInvalidArgument, "not a certificate request message");
  SigningRequest request{.csr = message.csr(), .validity_seconds = message.validity_duration()};
  if (const auto* authorization = http2::find(metadata, "authorization")) request.authorization = *authorization;
  const auto& fields = message.metadata().fields();
  if (const auto found = fields.find(kImpersonated); found != fields.end()) {
    if (found->second.kind_case() != istio::v1::auth::Value::kStringValue) {
      return fail(ErrorCode::kInvalidArgument, "ImpersonatedIdentity is not a text");
    }
    request.impersonated = found->second.string_value();
  }
  return request;
}

}  // namespace

grpc::Server::Options CertificateService::server_options() {
  grpc::Server::Options options{.message_max = kMessageMax, .call_time_max = kCallTimeMax};
  options.http2.max_concurrent_streams = 16;
  options.http2.stream_window = 64 * 1024;
  options.http2.connection_window = 256 * 1024;
  options.http2.max_frame_size = 16 * 1024;
  options.http2.ping_interval = std::chrono::seconds(30);
  return options;
}

CertificateService::CertificateService(const Signing& signing, const Nodes& nodes, IssuerLimits limits, Metrics& metrics,
                                       const Clock& clock)
    : signing_(signing), nodes_(nodes), limits_(std::move(limits)), metrics_(metrics), clock_(clock) {}

void CertificateService::add_to(grpc::Server& server) {
  server.add(kMethod, [this](grpc::ServerCall& call, StopToken) { return create(call); });
}

grpc::Status CertificateService::refuse(const grpc::ServerCall& call, std::string_view reason, grpc::Status status) {
  metrics_.refused.with({{"reason", std::string(reason)}}).add();
  WEFT_LOG(kWarn, "audit", "certificate refused", {"peer", call.peer(), log::FieldKind::kDisplay},
           {"reason", std::string(reason)}, {"error", status.message});
  return status;
}

Task<grpc::Status> CertificateService::create(grpc::ServerCall& call) {
  auto message = co_await call.read();
  if (!message) co_return refuse(call, "unreadable", grpc::from_error(message.error()));
  if (!*message) co_return refuse(call, "unreadable", {grpc::Code::kInvalidArgument, "no certificate request was sent"});
  auto request = decode(call.metadata(), **message);
  if (!request) co_return refuse(call, "unreadable", {grpc::Code::kInvalidArgument, request.error().message()});

  // Held while signing: a reload in between must not mix two authorities.
  const std::shared_ptr<const Authority> authority = signing_.authority();
  auto issued = decide(*request, nodes_.tokens(), nodes_.identities(), *authority, limits_, clock_.wall());
  if (!issued) {
    const auto reason = issued.error().reason;
    co_return refuse(call, to_string(reason), {code_of(reason), issued.error().message});
  }
  istio::v1::auth::IstioCertificateResponse response;
  for (const auto& element : issued->chain) response.add_cert_chain(element);
  auto leaf = tls::Certificate::from_pem(issued->chain.front());
  if (!leaf) co_return refuse(call, "internal", {grpc::Code::kInternal, "the issued certificate cannot be read"});
  metrics_.issued.add();
  WEFT_LOG(kInfo, "audit", "certificate issued", {"peer", call.peer(), log::FieldKind::kDisplay}, {"node", issued->node},
           {"identity", issued->identity.to_string()}, {"serial", leaf->serial()},
           {"expires", format_rfc3339(leaf->not_after())});
  // Fails when the caller has gone; it will ask again.
  auto written = co_await call.write(response.SerializeAsString());
  co_return written ? grpc::Status{} : grpc::from_error(written.error());
}

}  // namespace weft::certs::manager
