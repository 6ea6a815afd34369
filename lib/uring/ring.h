// One io_uring: set-up, features found by trying, submission.
//
// Thread: the one that created it (SINGLE_ISSUER). Kernel 5.19 or later (provided-buffer rings); newer features are used
// where they work. Containers often refuse io_uring altogether: create() then fails and the Asio engine takes over.
#pragma once

#include <liburing.h>

#include <memory>
#include <string>

#include "lib/base/result.h"
#include "lib/uring/operation.h"

namespace weft::uring {

struct RingOptions {
  unsigned entries = 1024;              // submissions per turn before an extra system call
  unsigned completion_entries = 16384;  // bursts beyond it cost the kernel an allocation each, nothing is lost
  // What to try for; clearing one forces the path an older kernel would take.
  bool defer_taskrun = true;      // 6.1: completions run when the loop asks: 20 % less per small message
  bool limited_multishot = true;  // receive again and again up to a byte limit; else one request per receive
};

class Ring {
 public:
  // kPermission when a seccomp profile or sysctl forbids it, kUnsupported on a kernel without it.
  static Result<std::unique_ptr<Ring>> create(const RingOptions& options);
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring();

  // A submission entry, to be filled by one io_uring_prep_*() call, which clears the rest; submits what is queued when there
  // is no room.
  io_uring_sqe* prepare(Operation* operation);
  io_uring* raw() { return &ring_; }

  bool has_defer_taskrun() const { return defer_taskrun_; }
  bool has_limited_multishot() const { return limited_multishot_; }
  // "deferred completions, limited multishot receive", for the log.
  std::string describe() const;

  // Receives repeatedly into group `group` until `limit` bytes came, or once when the feature is missing.
  void prepare_receive(Operation& operation, int fd, unsigned group, std::size_t limit);

 private:
  Ring() = default;
  bool probe_limited_multishot();

  io_uring ring_{};
  bool defer_taskrun_ = false;
  bool limited_multishot_ = false;
};

}  // namespace weft::uring
