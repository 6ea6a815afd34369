#include "lib/asio/loop.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include "lib/asio/detail/context.h"

namespace weft::asio {

Loop::Loop() : random_(random_seed()), thread_(std::this_thread::get_id()), context_(std::make_unique<Context>()) {}

Loop::~Loop() = default;

void Loop::run() {
  thread_ = std::this_thread::get_id();
  auto work = boost::asio::make_work_guard(context_->io);
  context_->io.restart();
  if (!context_->stop_requested) context_->io.run();
  context_->stop_requested = false;
}

void Loop::stop() {
  context_->stop_requested = true;
  context_->io.stop();
}

void Loop::post(std::function<void()> action) { boost::asio::post(context_->io, std::move(action)); }

void Loop::post_from_any_thread(std::function<void()> action) { boost::asio::post(context_->io, std::move(action)); }

void Loop::arm(Timer& timer, MonotonicTime deadline) {
  timers_.arm(timer, deadline);
  schedule_timers();
}

void Loop::schedule_timers() {
  const auto next = timers_.next_deadline();
  if (!next || (context_->scheduled && *context_->scheduled <= *next)) return;
  context_->scheduled = next;
  context_->timer.expires_at(*next);  // ends an earlier wait
  context_->timer.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    context_->scheduled.reset();
    timers_.run_due(now());
    schedule_timers();
  });
}

}  // namespace weft::asio
