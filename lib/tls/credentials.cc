#include "lib/tls/credentials.h"

namespace weft::tls {

Result<std::shared_ptr<const Credentials>> Credentials::create(PrivateKey key, std::vector<Certificate> chain,
                                                               std::vector<Certificate> roots, std::uint64_t generation) {
  if (chain.empty()) return fail(ErrorCode::kInvalidArgument, "certificate chain is empty");
  if (roots.empty()) return fail(ErrorCode::kInvalidArgument, "no root certificate present");
  if (!chain.front().matches(key)) {
    return fail(ErrorCode::kInvalidArgument, "certificate does not belong to the private key");
  }
  return std::shared_ptr<const Credentials>(new Credentials(std::move(key), std::move(chain), std::move(roots), generation));
}

Credentials::Credentials(PrivateKey key, std::vector<Certificate> chain, std::vector<Certificate> roots,
                         std::uint64_t generation)
    : key_(std::move(key)), chain_(std::move(chain)), roots_(std::move(roots)), generation_(generation) {
  for (const auto& uri : leaf().names().uris) {
    if (auto identity = model::Identity::parse(uri)) {
      identity_ = std::move(*identity);
      break;
    }
  }
}

}  // namespace weft::tls
