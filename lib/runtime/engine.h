// The engine of a worker: the ring, or Asio's epoll where the ring is refused.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "lib/async/loop.h"
#include "lib/io/network.h"

namespace weft::runtime {

enum class EngineChoice { kAuto, kIoUring, kEpoll };

struct EngineOptions {
  EngineChoice choice = EngineChoice::kAuto;
  // Features of the ring to do without, as an older kernel would.
  bool defer_taskrun = true;
  bool limited_multishot = true;
  // See uring::LoopOptions::spin.
  Duration spin{0};
};

// WEFT_ENGINE: "auto", "io_uring", "epoll".
Result<EngineChoice> parse_engine_choice(std::string_view text);
// WEFT_URING_FEATURES: a comma-separated list of what may be used out of "defer_taskrun" and "multishot"; "none" for
// neither.
Result<void> apply_uring_features(std::string_view text, EngineOptions& options);

// Created, run and destroyed on one thread.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual Loop& loop() = 0;
  virtual io::NetworkFactory& networks() = 0;
  // Runs until stop(), which any thread may call.
  virtual void run() = 0;
  virtual void stop() = 0;
  // "io_uring (deferred completions, limited multishot receive)", or "epoll (<why not io_uring>)".
  virtual const std::string& description() const = 0;
};

// kAuto never fails for want of the ring; kIoUring gives the ring's own error.
Result<std::unique_ptr<Engine>> make_engine(const EngineOptions& options);

}  // namespace weft::runtime
