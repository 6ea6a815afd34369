#include "ztunnel/authority.h"

#include "ztunnel/settings.h"

namespace weft::ztunnel {
namespace {

// More than any token or bundle; what is in the file does not matter here.
constexpr std::size_t kLookMax = 1024 * 1024;

// A file that is there and cannot be read is meant as a file: using it says what is wrong.
bool exists(io::Files& files, const std::string& path) {
  if (path.empty() || path.find('\n') != path.npos) return false;
  auto content = files.read(path, kLookMax);
  if (content) return true;
  const auto code = content.error().code();
  return code == ErrorCode::kPermission || code == ErrorCode::kLimit || code == ErrorCode::kInvalidArgument;
}

}  // namespace

certs::TrustRoots authority_roots(io::Files& files, const std::string& setting) {
  if (setting == "SYSTEM") return certs::TrustRoots::system();
  return exists(files, setting) ? certs::TrustRoots::file(files, setting) : certs::TrustRoots::inline_pem(setting);
}

certs::AuthToken authority_token(io::Files& files, const std::string& setting) {
  if (exists(files, setting)) return certs::AuthToken::file(files, setting);
  if (setting.empty() || setting == kDefaultAuthTokenPath) return {};
  return certs::AuthToken::literal(setting);
}

}  // namespace weft::ztunnel
