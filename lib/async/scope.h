// Structured concurrency: a scope owns the tasks spawned into it, can ask them to stop, and is left only when all ended.
//
//   Scope scope(loop);
//   scope.spawn(serve(connection, scope.token()));
//   ...
//   scope.request_stop();
//   co_await scope.join();
//
// Single-threaded. Destroying a scope with running tasks is a bug and ends the process.
#pragma once

#include "lib/async/event.h"
#include "lib/async/stop.h"
#include "lib/async/task.h"

namespace weft {

class Scope {
 public:
  explicit Scope(Loop& loop, const StopToken& parent = {});
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  ~Scope();

  // Starts the task now, on this stack, up to its first suspension. Also allowed while stopping (clean-up work).
  void spawn(Task<void> task);
  // Fires when request_stop() is called or the parent's token fires.
  StopToken token() const { return source_.token(); }
  void request_stop() { source_.request_stop(); }
  bool stop_requested() const { return source_.stop_requested(); }
  std::size_t running() const { return running_; }
  // Waits until no task runs. Does not ask them to stop.
  Task<void> join();

 private:
  struct Runner;
  static Runner run(Scope& scope, Task<void> task);

  Loop& loop_;
  StopSource source_;
  StopCallback on_parent_;
  std::size_t running_ = 0;
  Event idle_;
};

}  // namespace weft
