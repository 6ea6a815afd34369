#include "tests/support/engine.h"

#include <filesystem>

#include "lib/asio/loop.h"
#include "lib/asio/network.h"
#include "lib/uring/loop.h"
#include "lib/uring/network.h"
#include "tests/support/sim/network.h"

namespace weft::testing {
namespace {

struct Detached {
  struct promise_type {
    Detached get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
  };
};

Detached drive(Task<void> task, std::function<void()> done) {
  {
    Task<void> owned = std::move(task);
    co_await std::move(owned);
  }
  done();
}

class AsioEngine final : public Engine {
 public:
  Loop& loop() override { return loop_; }
  io::NetworkFactory& networks() override { return networks_; }
  void run(Task<void> task) override {
    bool running = false, finished = false;
    start(std::move(task), [&] {
      finished = true;
      if (running) loop_.stop();
    });
    running = true;
    if (!finished) loop_.run();
  }
  std::size_t descriptors() const override { return open_descriptors(); }

 private:
  asio::Loop loop_;
  asio::Networks networks_{loop_};
};

class UringEngine final : public Engine {
 public:
  explicit UringEngine(std::unique_ptr<uring::Loop> loop) : loop_(std::move(loop)), networks_(*loop_) {}
  Loop& loop() override { return *loop_; }
  io::NetworkFactory& networks() override { return networks_; }
  void run(Task<void> task) override {
    bool running = false, finished = false;
    start(std::move(task), [&] {
      finished = true;
      if (running) loop_->stop();
    });
    running = true;
    if (!finished) loop_->run();
    loop_->run_until_quiet();
  }
  std::size_t descriptors() const override { return open_descriptors(); }
  std::size_t buffers_out() const override { return loop_->buffers().lent(); }

 private:
  std::unique_ptr<uring::Loop> loop_;
  uring::Networks networks_;
};

class SimEngine final : public Engine {
 public:
  explicit SimEngine(std::uint64_t seed) : world_(seed), loop_(world_.make_loop("test")) {
    networks_ = internet_.networks(internet_.make_host("host", {}), loop_);
  }
  Loop& loop() override { return loop_; }
  io::NetworkFactory& networks() override { return *networks_; }
  void run(Task<void> task) override {
    world_.run(std::move(task));
    world_.run_for(std::chrono::seconds(1));  // what is under way arrives
  }
  std::size_t descriptors() const override { return internet_.open_sockets(); }
  bool is_real() const override { return false; }

 private:
  sim::World world_;
  sim::Internet internet_{world_};
  sim::SimLoop& loop_;
  std::unique_ptr<io::NetworkFactory> networks_;
};

std::unique_ptr<Engine> make_uring(const uring::LoopOptions& options) {
  auto loop = uring::Loop::create(options);
  if (!loop) return nullptr;
  return std::make_unique<UringEngine>(std::move(*loop));
}

}  // namespace

void start(Task<void> task, std::function<void()> done) { drive(std::move(task), std::move(done)); }

std::size_t open_descriptors() {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    (void)entry;
    ++count;
  }
  return count;
}

std::vector<std::string> engine_names() {
  std::vector<std::string> names{"sim", "asio"};
  if (uring::Loop::create()) {
    for (const char* name : {"uring", "uring-single-receive", "uring-minimum"}) names.emplace_back(name);
  }
  return names;
}

std::unique_ptr<Engine> make_engine(const std::string& name) {
  if (name == "sim") return std::make_unique<SimEngine>(1);
  if (name == "asio") return std::make_unique<AsioEngine>();
  uring::LoopOptions options;
  if (name != "uring") options.ring.limited_multishot = false;
  if (name == "uring-minimum") options.ring.defer_taskrun = false;
  return make_uring(options);
}

}  // namespace weft::testing
