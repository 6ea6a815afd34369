// What an authority answered, read and checked before anybody uses it. Pure.
#pragma once

#include <string>
#include <vector>

#include "certs/secret.h"
#include "lib/model/identity.h"
#include "lib/tls/key.h"

namespace weft::certs {

// First element: the leaf. Elements between: one intermediate each. Last element: the trust roots, concatenated; roots
// that do not parse are left out. The leaf's first URI must be `identity`. Errors carry ztunnel's texts, kIdentity for a
// certificate of somebody else, kInvalidArgument otherwise.
Result<CredentialsPtr> read_issued_chain(const model::Identity& identity, const tls::PrivateKey& key,
                                         const std::vector<std::string>& elements, std::uint64_t generation);

}  // namespace weft::certs
