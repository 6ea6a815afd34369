// The bearer token shown to the control plane (AUTH_TOKEN).
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "lib/base/result.h"
#include "lib/io/files.h"

namespace weft::certs {

// Control thread only: a file is read again for every call, so that a rotated token is used at once.
class AuthToken {
 public:
  // No token: calls carry none.
  AuthToken() = default;
  static AuthToken literal(std::string token);
  static AuthToken file(io::Files& files, std::string path);

  // "Bearer <token>", sent as the file has it, without trimming; nullopt without a token. An empty file is an error.
  Result<std::optional<std::string>> authorization() const;

 private:
  io::Files* files_ = nullptr;
  std::string path_;
  std::optional<std::string> literal_;
};

}  // namespace weft::certs
