#include "ztunnel/build_info.h"

#include "lib/base/log.h"
#include "lib/tls/context.h"

namespace weft::ztunnel {

std::string build_info(const std::string& istio_version) {
  return fmt::format(
      "version.BuildInfo{{Version:\"{}\", GitRevision:\"{}\", RustVersion:\"none\", BuildProfile:\"{}\", BuildStatus:\"{}\", "
      "IstioVersion:\"{}\", CryptoProvider:\"{}\"}}",
      WEFT_VERSION, WEFT_REVISION, WEFT_BUILD_TYPE, WEFT_BUILD_STATUS, istio_version.empty() ? "unknown" : istio_version,
      tls::library_version());
}

}  // namespace weft::ztunnel
