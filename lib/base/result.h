// Result<T>: a value or an Error. What can fail at run time returns it; nothing throws on a traffic path.
#pragma once

#include <expected>
#include <utility>

#include "lib/base/error.h"

namespace weft {

template <typename T = void>
using Result = std::expected<T, Error>;

// `return fail(ErrorCode::kNotFound, "pod x");`
inline std::unexpected<Error> fail(ErrorCode code, std::string context, Side side = Side::kLocal) {
  return std::unexpected<Error>(Error(code, std::move(context), side));
}
inline std::unexpected<Error> fail(Error error) { return std::unexpected<Error>(std::move(error)); }
inline std::unexpected<Error> fail_errno(int os_error, std::string_view context) {
  return std::unexpected<Error>(Error::from_errno(os_error, context));
}

}  // namespace weft

#define WEFT_CONCAT_INNER(a, b) a##b
#define WEFT_CONCAT(a, b) WEFT_CONCAT_INNER(a, b)

// WEFT_TRY(auto x, parse(text));     early return of the error from an ordinary function returning Result.
#define WEFT_TRY(declaration, expression) WEFT_TRY_IMPL(WEFT_CONCAT(weft_try_, __LINE__), return, declaration, expression)
// WEFT_TRY_VOID(write(fd, text));    the same for Result<void>.
#define WEFT_TRY_VOID(expression) WEFT_TRY_VOID_IMPL(WEFT_CONCAT(weft_try_, __LINE__), return, expression)

// In coroutines the await stands alone; these take an already awaited Result:
//   auto reply = co_await call();
//   WEFT_CO_TRY(auto value, std::move(reply));
#define WEFT_CO_TRY(declaration, expression) \
  WEFT_TRY_IMPL(WEFT_CONCAT(weft_try_, __LINE__), co_return, declaration, expression)
#define WEFT_CO_TRY_VOID(expression) WEFT_TRY_VOID_IMPL(WEFT_CONCAT(weft_try_, __LINE__), co_return, expression)

#define WEFT_TRY_IMPL(name, leave, declaration, expression)                   \
  auto name = (expression);                                                   \
  if (!name) leave ::std::unexpected<::weft::Error>(std::move(name).error()); \
  declaration = std::move(*name)
#define WEFT_TRY_VOID_IMPL(name, leave, expression)                             \
  do {                                                                          \
    auto name = (expression);                                                   \
    if (!name) leave ::std::unexpected<::weft::Error>(std::move(name).error()); \
  } while (false)
