// Decides one request for a certificate: who asks, for whom, and what they get.
//
//   token            -> the node that asks               else kUnauthenticated
//   request          -> signed by its own key, naming exactly the wanted identity, of our trust domain
//                                                        else kInvalidArgument
//   pods on the node -> one of them has that identity    else kPermissionDenied
//   lifetime         -> as asked, at most the limit; a leaf has serverAuth and clientAuth
#pragma once

#include <chrono>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "certs/manager/authority.h"
#include "certs/manager/node_tokens.h"

namespace weft::certs::manager {

// Which identities have a pod on which node; from the manifests.
class AllowedIdentities {
 public:
  virtual ~AllowedIdentities() = default;
  virtual bool runs_on(const std::string& node, const model::Identity& identity) const = 0;
};

struct SigningRequest {
  std::optional<std::string> authorization;  // the request header as sent
  std::string csr;
  std::int64_t validity_seconds = 0;        // 0 or less: as long as allowed
  std::optional<std::string> impersonated;  // the identity asked for; absent: the one the CSR names
};

struct Refusal {
  enum class Reason { kUnauthenticated, kInvalidArgument, kPermissionDenied, kInternal };
  Reason reason;
  std::string message;
};
std::string_view to_string(Refusal::Reason reason);

struct Issued {
  std::vector<std::string> chain;
  std::string node;
  model::Identity identity;
  Duration life;
};

struct IssuerLimits {
  std::string trust_domain;
  Duration leaf_life_max;
};

std::expected<Issued, Refusal> decide(const SigningRequest& request, const NodeTokens& tokens,
                                      const AllowedIdentities& allowed, const Authority& authority,
                                      const IssuerLimits& limits, WallTime now);

}  // namespace weft::certs::manager
