#include "ztunnel/authority.h"

#include <filesystem>

#include "ztunnel/settings.h"

namespace weft::ztunnel {
namespace {

bool exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

}  // namespace

certs::TrustRoots authority_roots(io::Files& files, const std::string& setting) {
  if (setting == "SYSTEM") return certs::TrustRoots::system();
  return exists(setting) ? certs::TrustRoots::file(files, setting) : certs::TrustRoots::inline_pem(setting);
}

certs::AuthToken authority_token(io::Files& files, const std::string& setting) {
  if (exists(setting)) return certs::AuthToken::file(files, setting);
  if (setting.empty() || setting == kDefaultAuthTokenPath) return {};
  return certs::AuthToken::literal(setting);
}

}  // namespace weft::ztunnel
