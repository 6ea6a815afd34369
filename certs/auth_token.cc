#include "certs/auth_token.h"

namespace weft::certs {
namespace {
// Service account tokens are a few KiB; more is not a token.
constexpr std::size_t kTokenSizeMax = 64 * 1024;
}  // namespace

AuthToken AuthToken::literal(std::string token) {
  AuthToken made;
  made.literal_ = std::move(token);
  return made;
}

AuthToken AuthToken::file(io::Files& files, std::string path) {
  AuthToken made;
  made.files_ = &files;
  made.path_ = std::move(path);
  return made;
}

Result<std::optional<std::string>> AuthToken::authorization() const {
  if (literal_) return "Bearer " + *literal_;
  if (!files_) return std::nullopt;
  WEFT_TRY(auto token, files_->read(path_, kTokenSizeMax));
  if (token.empty()) return fail(ErrorCode::kPermission, "token file exists, but was empty");
  return "Bearer " + token;
}

}  // namespace weft::certs
