#include "lib/tls/detail/openssl.h"

namespace weft::tls::detail {

int no_pass_phrase(char*, int, int, void*) { return -1; }

std::string take_error_text() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return {};
  const char* reason = ERR_reason_error_string(code);
  return reason ? std::string(reason) : "error " + std::to_string(code);
}

std::unexpected<Error> fail_openssl(std::string_view context) {
  std::string text(context);
  const std::string reason = take_error_text();
  if (!reason.empty()) text += ": " + reason;
  return fail(ErrorCode::kTls, std::move(text));
}

}  // namespace weft::tls::detail
