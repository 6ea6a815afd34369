// The worker threads of a proxy, each with one engine.
//
// Thread: start() and stop() belong to the thread that owns the object (the control thread).
#pragma once

#include <functional>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "lib/runtime/engine.h"

namespace weft::runtime {

class Workers {
 public:
  // `count` threads named "<name>-0" and so on. When one engine cannot open, those that run are stopped and the error comes
  // back.
  static Result<std::unique_ptr<Workers>> start(const std::string& name, unsigned count, const EngineOptions& options);
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  ~Workers() { stop(); }

  std::size_t size() const { return workers_.size(); }
  // Of worker `index`; valid until stop(). On other threads only post_from_any_thread() may be called.
  Loop& loop(std::size_t index) { return workers_[index].engine->loop(); }
  io::NetworkFactory& networks(std::size_t index) { return workers_[index].engine->networks(); }
  const std::string& description() const { return workers_.front().engine->description(); }

  // Runs `action` on a worker some time later. To wait for its end, see lib/async/cross_thread.h.
  void run_on(std::size_t index, std::function<void()> action) { loop(index).post_from_any_thread(std::move(action)); }

  // Ends every loop after its current turn and joins the threads. Everything made on the loops must be gone, tasks joined.
  // Idempotent.
  void stop();

 private:
  struct Worker {
    std::thread thread;
    Engine* engine = nullptr;                          // lives on the thread's stack
    std::unique_ptr<std::binary_semaphore> may_leave;  // nobody else touches the engine any more
  };
  Workers() = default;
  std::vector<Worker> workers_;
};

}  // namespace weft::runtime
