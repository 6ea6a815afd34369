// A non-blocking descriptor that tasks can wait on.
//
// Whoever waits must be resumed before the descriptor is destroyed: cancel() and await the end.
#pragma once

#include <boost/asio/posix/stream_descriptor.hpp>
#include <coroutine>

#include "lib/asio/detail/context.h"
#include "lib/base/fd.h"

namespace weft::asio {

class Descriptor {
 public:
  Descriptor(Loop& loop, Fd fd) : asio_(loop.context().io, fd.release()) {}

  using Direction = boost::asio::posix::stream_descriptor::wait_type;
  static constexpr Direction kRead = boost::asio::posix::stream_descriptor::wait_read;
  static constexpr Direction kWrite = boost::asio::posix::stream_descriptor::wait_write;

  struct Ready {
    boost::asio::posix::stream_descriptor& asio;
    Direction direction;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
      asio.async_wait(direction, [handle](const boost::system::error_code&) { handle.resume(); });
    }
    void await_resume() const {}
  };
  // Suspends until the descriptor may be ready, or cancel() was called: look again.
  Ready ready(Direction direction) { return {asio_, direction}; }

  // The same with a callback.
  template <typename F>
  void when_ready(Direction direction, F action) {
    asio_.async_wait(direction, [action = std::move(action)](const boost::system::error_code&) { action(); });
  }
  // Ends all waits, which resume in a later turn.
  void cancel() {
    boost::system::error_code ignored;
    asio_.cancel(ignored);
  }
  // Gives the descriptor back; nobody may be waiting.
  Fd release() { return Fd(asio_.release()); }
  void close() {
    boost::system::error_code ignored;
    asio_.close(ignored);
  }
  int fd() { return asio_.native_handle(); }

 private:
  boost::asio::posix::stream_descriptor asio_;
};

}  // namespace weft::asio
