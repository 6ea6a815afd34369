// Unix socket files.
#pragma once

#include <string>

#include "lib/base/fd.h"
#include "lib/base/result.h"

namespace weft::asio {

// A non-blocking socket of `type` that listens at `path`, which is replaced when it is a socket and gets permissions `mode`.
Result<Fd> listen_at(const std::string& path, int type, unsigned mode);
// A non-blocking socket of `type` connected to `path`. Unix connections are made at once or not at all.
Result<Fd> connect_to(const std::string& path, int type);

}  // namespace weft::asio
