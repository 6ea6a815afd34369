// Which build this is, in ztunnel's form.
#pragma once

#include <string>

namespace weft::ztunnel {

// version.BuildInfo{Version:"…", GitRevision:"…", …}; `istio_version` may be empty.
std::string build_info(const std::string& istio_version);

}  // namespace weft::ztunnel
