// The certificates of this node as the dump shows them: chains and roots, never a key.
#pragma once

#include <vector>

#include "certs/secret_manager.h"
#include "ztunnel/dump/json.h"

namespace weft::ztunnel::dump {

// [{identity, state, certChain, rootCerts}]; the lists are empty while there is no certificate.
Json describe(const std::vector<certs::SecretManager::Entry>& entries);

}  // namespace weft::ztunnel::dump
