// One request to the kernel, owned by whoever waits for it.
#pragma once

namespace weft::uring {

// Must stay where it is, alive, until complete() was called without `more`: the kernel knows its address. An operation that
// belongs to a coroutine frame is safe there, because the frame is suspended until then.
class Operation {
 public:
  // `result` as the system call's, -errno on failure. `flags` are IORING_CQE_F_*; IORING_CQE_F_MORE says that further
  // completions follow.
  virtual void complete(int result, unsigned flags) = 0;

 protected:
  ~Operation() = default;
};

}  // namespace weft::uring
