// The certificates of this node as the dump shows them: chains and roots, never a key.
#pragma once

#include <vector>

#include "certs/secret_manager.h"
#include "ztunnel/dump/writer.h"

namespace weft::ztunnel::dump {

// Member `certificates`, [{identity, state, certChain, rootCerts}]; the lists are empty while there is no certificate.
Task<void> write_certificates(Writer& out, const std::vector<certs::SecretManager::Entry>& entries);

}  // namespace weft::ztunnel::dump
