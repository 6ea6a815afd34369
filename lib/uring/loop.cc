#include "lib/uring/loop.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "lib/base/check.h"

namespace weft::uring {
namespace {

constexpr unsigned kReceiveGroup = 0;
// Completions delivered before timers and posted actions get their turn.
constexpr std::size_t kCompletionsPerTurn = 4096;
// Rounds of posted actions (each may post the next) before the kernel is asked again.
constexpr int kPostedRoundsPerTurn = 8;

}  // namespace

Result<std::unique_ptr<Loop>> Loop::create(const LoopOptions& options) {
  WEFT_TRY(auto ring, Ring::create(options.ring));
  WEFT_TRY(auto buffers, BufferRing::create(*ring, kReceiveGroup));
  // Blocking: io_uring itself waits for it.
  Fd wake_event(::eventfd(0, EFD_CLOEXEC));
  if (!wake_event) return fail_errno(errno, "eventfd");
  return std::unique_ptr<Loop>(new Loop(std::move(ring), std::move(buffers), std::move(wake_event), options.spin));
}

Loop::Loop(std::unique_ptr<Ring> ring, BufferRing::Pointer buffers, Fd wake_event, Duration spin)
    : random_(random_seed()),
      now_(clock_.monotonic()),
      thread_(std::this_thread::get_id()),
      ring_(std::move(ring)),
      buffers_(std::move(buffers)),
      spin_(spin),
      wake_event_(std::move(wake_event)) {
  watch_mailbox();
}

Loop::~Loop() {
  io_uring_sqe* sqe = ring_->prepare(nullptr);
  io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
  run_until_quiet();
}

void Loop::run() {
  while (!stop_requested_.load(std::memory_order_relaxed)) turn(Wait::kYes);
  stop_requested_ = false;
}

void Loop::stop() {
  if (on_loop_thread()) {
    stop_requested_ = true;
  } else {
    post_from_any_thread([this] { stop_requested_ = true; });
  }
}

void Loop::run_until_quiet() {
  while (in_kernel_ > 0 || !posted_.empty()) turn(posted_.empty() ? Wait::kYes : Wait::kNo);
}

void Loop::post_from_any_thread(std::function<void()> action) {
  // The wake is sent under the lock: once `action` can run, and perhaps end this loop, we are done with it.
  const std::lock_guard lock(mailbox_mutex_);
  mailbox_.push_back(std::move(action));
  if (std::exchange(wake_sent_, true)) return;
  const std::uint64_t one = 1;
  const auto written = ::write(wake_event_.get(), &one, sizeof one);
  (void)written;  // fails only when the counter is full, and then a wake is pending
}

void Loop::turn(Wait wait) {
  timers_.run_due(now_);
  run_posted();
  submit_and_wait(!posted_.empty() || stop_requested_.load(std::memory_order_relaxed) ? Wait::kNo : wait);
  now_ = clock_.monotonic();
  busy_ = reap() > 0;
}

void Loop::run_posted() {
  for (int round = 0; round < kPostedRoundsPerTurn && !posted_.empty(); ++round) {
    running_.swap(posted_);
    for (auto& action : running_) action();
    running_.clear();
  }
}

void Loop::submit_and_wait(Wait wait) {
  io_uring* ring = ring_->raw();
  if (wait == Wait::kNo) {
    io_uring_submit_and_get_events(ring);
    return;
  }
  if (busy_ && spin_.count() > 0 && spin_for_completions()) return;
  io_uring_cqe* cqe = nullptr;
  const auto next = timers_.next_deadline();
  if (!next) {
    io_uring_submit_and_wait(ring, 1);
    return;
  }
  const auto left = std::max(*next - clock_.monotonic(), Duration(0)).count();
  __kernel_timespec limit{.tv_sec = left / 1'000'000'000, .tv_nsec = left % 1'000'000'000};
  io_uring_submit_and_wait_timeout(ring, &cqe, 1, &limit, nullptr);
}

bool Loop::spin_for_completions() {
  io_uring* ring = ring_->raw();
  const auto end = clock_.monotonic() + spin_;
  do {
    io_uring_submit_and_get_events(ring);
    if (io_uring_cq_ready(ring) > 0) return true;
  } while (clock_.monotonic() < end);
  return false;
}

std::size_t Loop::reap() {
  io_uring* ring = ring_->raw();
  std::size_t count = 0;
  for (io_uring_cqe* cqe; count < kCompletionsPerTurn && io_uring_peek_cqe(ring, &cqe) == 0 && cqe; ++count) {
    auto* operation = static_cast<Operation*>(io_uring_cqe_get_data(cqe));
    const int result = cqe->res;
    const unsigned flags = cqe->flags;
    io_uring_cqe_seen(ring, cqe);  // the operation may submit, even reap
    if (!operation) continue;      // a cancel request's own completion
    if (operation != &wake_ && !(flags & IORING_CQE_F_MORE)) --in_kernel_;
    operation->complete(result, flags);
  }
  return count;
}

void Loop::cancel(Operation& operation) {
  io_uring_sqe* sqe = ring_->prepare(nullptr);
  io_uring_prep_cancel(sqe, &operation, 0);
}

void Loop::close_descriptor(int fd) {
  ::close(fd);
  if (!descriptor_waiters_.empty()) descriptor_waiters_.pop_front().descriptor_closed();
}

void Loop::watch_mailbox() {
  io_uring_sqe* sqe = ring_->prepare(&wake_);
  io_uring_prep_read(sqe, wake_event_.get(), &wake_count_, sizeof wake_count_, 0);
}

void Loop::Wake::complete(int result, unsigned) {
  if (result == -ECANCELED) return;  // the loop is being destroyed
  loop.watch_mailbox();
  loop.empty_mailbox();
}

void Loop::empty_mailbox() {
  std::vector<std::function<void()>> actions;
  {
    const std::lock_guard lock(mailbox_mutex_);
    actions.swap(mailbox_);
    wake_sent_ = false;
  }
  for (auto& action : actions) posted_.push_back(std::move(action));
}

}  // namespace weft::uring
