// Everything a stream has to say, as text.
#pragma once

#include <string>

#include "lib/async/task.h"
#include "lib/io/stream.h"

namespace weft::testing {

// Until the end, or the first error.
inline Task<Result<std::string>> read_all(io::Stream& stream) {
  std::string all;
  for (;;) {
    auto data = co_await stream.read(64 * 1024);
    if (!data) co_return fail(std::move(data).error());
    if (data->empty()) co_return std::move(all);
    stream.consumed(data->size());
    all += data->to_string();
  }
}

}  // namespace weft::testing
