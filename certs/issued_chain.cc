#include "certs/issued_chain.h"

namespace weft::certs {

Result<CredentialsPtr> read_issued_chain(const model::Identity& identity, const tls::PrivateKey& key,
                                         const std::vector<std::string>& elements, std::uint64_t generation) {
  if (elements.empty()) {
    return fail(ErrorCode::kInvalidArgument, "chain returned from CA is empty for: " + identity.to_string());
  }
  if (elements.size() == 1) {
    return fail(ErrorCode::kInvalidArgument, "no root certificate present in the answer for: " + identity.to_string());
  }
  std::vector<tls::Certificate> chain;
  for (std::size_t i = 0; i + 1 < elements.size(); ++i) {
    WEFT_TRY(auto certificate, tls::Certificate::from_pem(elements[i]));
    chain.push_back(std::move(certificate));
  }
  const auto& uris = chain.front().names().uris;
  if (uris.empty() || uris.front() != identity.to_string()) {
    return fail(ErrorCode::kIdentity, "did not find expected SAN: " + identity.to_string());
  }
  WEFT_TRY(auto roots, tls::parse_certificates(elements.back(), tls::BadBlocks::kSkip));
  return tls::Credentials::create(key, std::move(chain), std::move(roots), generation);
}

}  // namespace weft::certs
