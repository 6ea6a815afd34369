// Base64 with padding, one line (RFC 4648 §4).
#pragma once

#include <string>
#include <string_view>

namespace weft {

std::string base64(std::string_view bytes);

}  // namespace weft
