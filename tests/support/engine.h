// The engines under one roof, so that one suite runs over each: asio, the ring, the ring without its newer features, and
// the simulation.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/async/loop.h"
#include "lib/async/task.h"
#include "lib/io/network.h"

namespace weft::testing {

class Engine {
 public:
  virtual ~Engine() = default;
  virtual Loop& loop() = 0;
  virtual io::NetworkFactory& networks() = 0;
  // Runs the loop until `task` ended and everything the kernel held came home.
  virtual void run(Task<void> task) = 0;
  // Descriptors in use; what a test leaves behind shows here. 0 where there are none.
  virtual std::size_t descriptors() const = 0;
  // Runs on the kernel: has descriptors and threads.
  virtual bool is_real() const { return true; }
  // Receive buffers that are neither with the kernel nor free.
  virtual std::size_t buffers_out() const { return 0; }
};

// Names for make_engine; a ring the kernel refuses is left out.
std::vector<std::string> engine_names();
std::unique_ptr<Engine> make_engine(const std::string& name);

// Runs a detached outermost task and calls `done` at its end.
void start(Task<void> task, std::function<void()> done);

// Open descriptors of this process.
std::size_t open_descriptors();

}  // namespace weft::testing
