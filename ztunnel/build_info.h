// Which build this is, in ztunnel's form.
#pragma once

#include <string>

namespace weft::ztunnel {

struct BuildInfo {
  std::string version, git_revision, rust_version, build_profile, build_status, istio_version, crypto_provider;

  // version.BuildInfo{Version:"…", GitRevision:"…", …}
  std::string to_string() const;
};

// `istio_version` may be empty: unknown.
BuildInfo build_info(const std::string& istio_version);

}  // namespace weft::ztunnel
