// What the settings say about the certificate authority: whom to trust and what to show.
#pragma once

#include <string>

#include "certs/auth_token.h"
#include "certs/trust_roots.h"

namespace weft::ztunnel {

// CA_ROOT_CA: SYSTEM, the path of a file that exists, or PEM text.
certs::TrustRoots authority_roots(io::Files& files, const std::string& setting);
// AUTH_TOKEN: the path of a file that exists, or the token itself; none when it is empty or the default without such a file.
certs::AuthToken authority_token(io::Files& files, const std::string& setting);

}  // namespace weft::ztunnel
