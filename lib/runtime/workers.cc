#include "lib/runtime/workers.h"

#include <pthread.h>

#include <future>

namespace weft::runtime {
namespace {

using Started = std::promise<Result<Engine*>>;

void run_worker(const std::string& name, const EngineOptions& options, Started& started, std::binary_semaphore& may_leave) {
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
  auto engine = make_engine(options);
  if (!engine) {
    started.set_value(fail(std::move(engine).error()));
    return;
  }
  started.set_value(engine->get());
  // From here on `started` may be gone.
  (*engine)->run();
  may_leave.acquire();
}

}  // namespace

Result<std::unique_ptr<Workers>> Workers::start(const std::string& name, unsigned count, const EngineOptions& options) {
  std::unique_ptr<Workers> workers(new Workers);
  for (unsigned i = 0; i < std::max(1u, count); ++i) {
    Started started;
    auto may_leave = std::make_unique<std::binary_semaphore>(0);
    std::thread thread([&started, options, title = name + "-" + std::to_string(i), leave = may_leave.get()] {
      run_worker(title, options, started, *leave);
    });
    auto engine = started.get_future().get();
    if (!engine) {
      thread.join();
      return fail(std::move(engine).error());
    }
    workers->workers_.push_back({.thread = std::move(thread), .engine = *engine, .may_leave = std::move(may_leave)});
  }
  return workers;
}

void Workers::stop() {
  for (auto& worker : workers_) {
    worker.engine->stop();
    worker.may_leave->release();
  }
  for (auto& worker : workers_) worker.thread.join();
  workers_.clear();
}

}  // namespace weft::runtime
