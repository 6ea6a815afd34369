// Reads files of /proc.
#pragma once

#include <optional>
#include <string>

namespace weft::cni::redirect {

// At most 64 MiB: /proc/net/tcp has 150 bytes a connection. None when it cannot be opened.
std::optional<std::string> read_proc(const char* path);

}  // namespace weft::cni::redirect
