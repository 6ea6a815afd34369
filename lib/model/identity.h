// SPIFFE identities as the mesh writes them: spiffe://<trust domain>/ns/<namespace>/sa/<service account>.
#pragma once

#include <compare>
#include <string>
#include <string_view>

#include "lib/base/result.h"

namespace weft::model {

struct Identity {
  std::string trust_domain;
  std::string namespace_name;
  std::string service_account;

  // Exactly five segments after "spiffe://"; empty segments are accepted. kInvalidArgument otherwise.
  static Result<Identity> parse(std::string_view uri);
  // With the scheme.
  std::string to_string() const;
  // Without the scheme, as policies name principals: "td/ns/x/sa/y".
  std::string principal() const;

  friend auto operator<=>(const Identity&, const Identity&) = default;
};

}  // namespace weft::model
