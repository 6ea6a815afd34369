#include "ztunnel/build_info.h"

#include "lib/base/log.h"
#include "lib/tls/context.h"

namespace weft::ztunnel {

std::string BuildInfo::to_string() const {
  return fmt::format(
      "version.BuildInfo{{Version:\"{}\", GitRevision:\"{}\", RustVersion:\"{}\", BuildProfile:\"{}\", BuildStatus:\"{}\", "
      "IstioVersion:\"{}\", CryptoProvider:\"{}\"}}",
      version, git_revision, rust_version, build_profile, build_status, istio_version, crypto_provider);
}

BuildInfo build_info(const std::string& istio_version) {
  return {.version = WEFT_VERSION,
          .git_revision = WEFT_REVISION,
          .rust_version = "none",
          .build_profile = WEFT_BUILD_TYPE,
          .build_status = WEFT_BUILD_STATUS,
          .istio_version = istio_version.empty() ? "unknown" : istio_version,
          .crypto_provider = tls::library_version()};
}

}  // namespace weft::ztunnel
