#include "lib/asio/signals.h"

#include <boost/asio/signal_set.hpp>

#include "lib/asio/detail/context.h"

namespace weft::asio {

struct Signals::Impl {
  explicit Impl(Loop& loop) : set(loop.context().io) {}
  boost::asio::signal_set set;
};

Signals::Signals(Loop& loop, std::initializer_list<int> signals) : impl_(std::make_unique<Impl>(loop)) {
  boost::system::error_code ignored;
  for (const int signal : signals) impl_->set.add(signal, ignored);
}

Signals::~Signals() = default;

Task<Result<int>> Signals::next(StopToken stop) {
  struct Awaiter {
    boost::asio::signal_set& set;
    int signal = 0;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
      set.async_wait([this, handle](const boost::system::error_code& error, int number) {
        if (!error) signal = number;
        handle.resume();
      });
    }
    void await_resume() const {}
  };
  if (stop.stop_requested()) co_return fail(ErrorCode::kCancelled, "stopped while waiting for a signal");
  Awaiter awaiter{impl_->set};
  StopCallback on_stop(stop, [this] {
    boost::system::error_code ignored;
    impl_->set.cancel(ignored);
  });
  co_await awaiter;
  if (awaiter.signal == 0) co_return fail(ErrorCode::kCancelled, "stopped while waiting for a signal");
  co_return awaiter.signal;
}

}  // namespace weft::asio
