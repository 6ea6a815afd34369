// A program of the simulated world: its threads, and what becomes of it when it is killed.
//
// A killed program cannot be taken off the stack of its coroutines, so it goes on as a ghost: the world sees at once what a
// kernel does for a dead process (sockets end, listeners are gone), and nothing that the ghost does afterwards leaves it: it
// cannot connect, listen, send or write files. It is then asked to stop like any program, and must end, which shows that
// it can from wherever it was.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/support/sim/network.h"
#include "tests/support/sim/packets.h"

namespace weft::sim {

class Process {
 public:
  // All outlive it. `sockets` may be null.
  Process(Internet& internet, std::shared_ptr<SocketFiles> sockets, std::string name)
      : internet_(internet), sockets_(std::move(sockets)), name_(std::move(name)) {}

  // One more thread.
  SimLoop& make_loop(const std::string& thread) {
    loops_.push_back(&internet_.world().make_loop(name_ + "/" + thread));
    return *loops_.back();
  }
  // As SIGKILL.
  void kill() {
    for (auto* loop : loops_) loop->kill();
    internet_.end_sockets_of(loops_);
    if (sockets_) sockets_->end_sockets_of(loops_);
  }
  bool killed() const { return !loops_.empty() && loops_.front()->killed(); }
  // All objects of the program are gone.
  void retire() {
    for (auto* loop : loops_) loop->retire();
  }
  const std::string& name() const { return name_; }

 private:
  Internet& internet_;
  std::shared_ptr<SocketFiles> sockets_;
  std::string name_;
  std::vector<SimLoop*> loops_;
};

}  // namespace weft::sim
