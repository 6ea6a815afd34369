// A worker's loop on io_uring.
//
// One turn: run due timers, run posted actions, hand the queued submissions to the kernel and wait for completions in the
// same system call, then deliver every completion. Thread: created, run and destroyed on one thread; only
// post_from_any_thread() and stop() may come from others. Must outlive everything made on it.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "lib/async/loop.h"
#include "lib/async/timer_queue.h"
#include "lib/base/fd.h"
#include "lib/uring/buffer_ring.h"
#include "lib/uring/ring.h"

namespace weft::uring {

struct LoopOptions {
  RingOptions ring;
  // How long to look for completions before sleeping, after a turn that had some. Waking an idle processor costs tens of
  // microseconds on virtual machines; spinning costs up to this much per burst.
  Duration spin{0};
};

// Something that waits for a descriptor of the process to be closed.
class DescriptorWaiter : public ListLink {
 public:
  virtual void descriptor_closed() = 0;

 protected:
  ~DescriptorWaiter() = default;
};

class Loop final : public weft::Loop {
 public:
  // Errors as Ring::create.
  static Result<std::unique_ptr<Loop>> create(const LoopOptions& options = {});
  // Cancels what the kernel still holds and waits until it came home.
  ~Loop() override;

  // Runs until stop(). May be called again afterwards.
  void run();
  // Makes run() return after the current turn. From any thread; sticks if run() has not begun.
  void stop();
  // Runs turns until no operation is in the kernel and nothing is posted; timers are not waited for.
  void run_until_quiet();

  void post(std::function<void()> action) override { posted_.push_back(std::move(action)); }
  void post_from_any_thread(std::function<void()> action) override;
  bool on_loop_thread() const override { return std::this_thread::get_id() == thread_; }
  void arm(Timer& timer, MonotonicTime deadline) override { timers_.arm(timer, deadline); }
  const Clock& clock() const override { return clock_; }
  Random& random() override { return random_; }
  MonotonicTime now() const override { return now_; }

  // For the other files of this folder.
  //
  // A submission entry for `operation`, to be filled by one io_uring_prep_*() call, which the loop counts until its last
  // completion.
  io_uring_sqe* prepare(Operation& operation) {
    ++in_kernel_;
    return ring_->prepare(&operation);
  }
  void prepare_receive(Operation& operation, int fd, std::size_t limit) {
    ++in_kernel_;
    ring_->prepare_receive(operation, fd, buffers_->group(), limit);
  }
  // Asks the kernel to give `operation` back early; it still completes, with -ECANCELED or otherwise.
  void cancel(Operation& operation);
  Ring& ring() { return *ring_; }
  BufferRing& buffers() { return *buffers_; }
  // Closes a descriptor and tells the listeners that wait for a free one.
  void close_descriptor(int fd);
  void wait_for_descriptor(DescriptorWaiter& waiter) { descriptor_waiters_.push_back(waiter); }
  std::size_t operations_in_kernel() const { return in_kernel_; }

 private:
  struct Wake final : Operation {
    explicit Wake(Loop& owner) : loop(owner) {}
    void complete(int result, unsigned flags) override;
    Loop& loop;
  };

  Loop(std::unique_ptr<Ring> ring, BufferRing::Pointer buffers, Fd wake_event, Duration spin);
  enum class Wait { kYes, kNo };
  void turn(Wait wait);
  void run_posted();
  void submit_and_wait(Wait wait);
  std::size_t reap();
  bool spin_for_completions();
  void watch_mailbox();
  void empty_mailbox();

  SystemClock clock_;
  SeededRandom random_;
  MonotonicTime now_;
  std::thread::id thread_;
  std::unique_ptr<Ring> ring_;
  BufferRing::Pointer buffers_;
  TimerQueue timers_;
  std::vector<std::function<void()>> posted_;
  std::vector<std::function<void()>> running_;
  IntrusiveList<DescriptorWaiter> descriptor_waiters_;
  std::size_t in_kernel_ = 0;
  Duration spin_;
  bool busy_ = false;  // the last turn delivered completions
  std::atomic<bool> stop_requested_ = false;

  // From other threads: one wake per time the mailbox turns non-empty.
  std::mutex mailbox_mutex_;
  std::vector<std::function<void()>> mailbox_;
  bool wake_sent_ = false;
  Fd wake_event_;
  std::uint64_t wake_count_ = 0;
  Wake wake_{*this};
};

}  // namespace weft::uring
