// Boost.Asio inside the loop.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <optional>

#include "lib/asio/loop.h"

namespace weft::asio {

struct Loop::Context {
  boost::asio::io_context io{1};
  boost::asio::steady_timer timer{io};
  // The deadline `timer` waits for.
  std::optional<MonotonicTime> scheduled;
  std::atomic<bool> stop_requested = false;
};

}  // namespace weft::asio
