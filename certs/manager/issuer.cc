#include "certs/manager/issuer.h"

#include <algorithm>

namespace weft::certs::manager {
namespace {

constexpr std::string_view kBearer = "Bearer ";
// A mesh certificate request is about 500 bytes.
constexpr std::size_t kRequestSizeMax = 16 * 1024;
constexpr Duration kLifeMin = std::chrono::minutes(1);

std::unexpected<Refusal> refuse(Refusal::Reason reason, std::string message) {
  return std::unexpected<Refusal>({reason, std::move(message)});
}

}  // namespace

std::string_view to_string(Refusal::Reason reason) {
  switch (reason) {
    case Refusal::Reason::kUnauthenticated: return "unauthenticated";
    case Refusal::Reason::kInvalidArgument: return "invalid_argument";
    case Refusal::Reason::kPermissionDenied: return "permission_denied";
    case Refusal::Reason::kInternal: return "internal";
  }
  return "internal";
}

std::expected<Issued, Refusal> decide(const SigningRequest& request, const NodeTokens& tokens,
                                      const AllowedIdentities& allowed, const Authority& authority,
                                      const IssuerLimits& limits, WallTime now) {
  using Reason = Refusal::Reason;
  if (!request.authorization || !request.authorization->starts_with(kBearer)) {
    return refuse(Reason::kUnauthenticated, "a bearer token is required");
  }
  auto node = tokens.node_of(std::string_view(*request.authorization).substr(kBearer.size()));
  if (!node) return refuse(Reason::kUnauthenticated, "the token is not that of a known node");

  if (request.csr.size() > kRequestSizeMax) return refuse(Reason::kInvalidArgument, "certificate request is too large");
  auto csr = tls::Request::from_pem(request.csr);
  if (!csr) return refuse(Reason::kInvalidArgument, csr.error().message());
  const tls::AlternativeNames& names = csr->names();
  if (names.uris.size() != 1 || !names.dns.empty() || !names.ips.empty()) {
    return refuse(Reason::kInvalidArgument, "the certificate request must name exactly one URI and nothing else");
  }
  const std::string& wanted = request.impersonated ? *request.impersonated : names.uris.front();
  if (names.uris.front() != wanted) {
    return refuse(Reason::kInvalidArgument, "the certificate request names " + names.uris.front() + ", not " + wanted);
  }
  auto identity = model::Identity::parse(wanted);
  if (!identity) return refuse(Reason::kInvalidArgument, "not a SPIFFE identity: " + wanted);
  if (identity->trust_domain != limits.trust_domain) {
    return refuse(Reason::kPermissionDenied, "trust domain of " + wanted + " is not " + limits.trust_domain);
  }
  if (!allowed.runs_on(*node, *identity)) {
    return refuse(Reason::kPermissionDenied, "no pod with identity " + wanted + " runs on node " + *node);
  }

  // The asked-for number comes from outside: compared as seconds before it becomes nanoseconds.
  const auto max_seconds = std::chrono::duration_cast<std::chrono::seconds>(limits.leaf_life_max).count();
  const bool shorter = request.validity_seconds > 0 && request.validity_seconds < max_seconds;
  const Duration life =
      shorter ? std::max<Duration>(std::chrono::seconds(request.validity_seconds), kLifeMin) : limits.leaf_life_max;
  auto chain = authority.issue(*csr, *identity, std::min(life, limits.leaf_life_max), now);
  if (!chain) return refuse(Reason::kInternal, chain.error().message());
  return Issued{std::move(*chain), std::move(*node), std::move(*identity), life};
}

}  // namespace weft::certs::manager
