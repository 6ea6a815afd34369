#include "lib/runtime/engine.h"

#include "lib/asio/loop.h"
#include "lib/asio/network.h"
#include "lib/uring/loop.h"
#include "lib/uring/network.h"

namespace weft::runtime {
namespace {

class UringEngine final : public Engine {
 public:
  explicit UringEngine(std::unique_ptr<uring::Loop> loop)
      : loop_(std::move(loop)), networks_(*loop_), description_("io_uring (" + loop_->ring().describe() + ")") {}
  Loop& loop() override { return *loop_; }
  io::NetworkFactory& networks() override { return networks_; }
  void run() override { loop_->run(); }
  void stop() override { loop_->stop(); }
  const std::string& description() const override { return description_; }

 private:
  std::unique_ptr<uring::Loop> loop_;
  uring::Networks networks_;
  std::string description_;
};

class EpollEngine final : public Engine {
 public:
  explicit EpollEngine(std::string reason) : description_("epoll (" + std::move(reason) + ")") {}
  Loop& loop() override { return loop_; }
  io::NetworkFactory& networks() override { return networks_; }
  void run() override { loop_.run(); }
  void stop() override { loop_.stop(); }
  const std::string& description() const override { return description_; }

 private:
  asio::Loop loop_;
  asio::Networks networks_{loop_};
  std::string description_;
};

}  // namespace

Result<EngineChoice> parse_engine_choice(std::string_view text) {
  if (text == "auto") return EngineChoice::kAuto;
  if (text == "io_uring") return EngineChoice::kIoUring;
  if (text == "epoll") return EngineChoice::kEpoll;
  return fail(ErrorCode::kInvalidArgument, "engine must be auto, io_uring or epoll: " + std::string(text));
}

Result<void> apply_uring_features(std::string_view text, EngineOptions& options) {
  bool defer_taskrun = false, multishot = false;
  while (!text.empty()) {
    const auto comma = text.find(',');
    const auto word = text.substr(0, comma);
    text = comma == std::string_view::npos ? "" : text.substr(comma + 1);
    if (word == "defer_taskrun") {
      defer_taskrun = true;
    } else if (word == "multishot") {
      multishot = true;
    } else if (word != "none") {
      return fail(ErrorCode::kInvalidArgument, "unknown io_uring feature: " + std::string(word));
    }
  }
  options.defer_taskrun = defer_taskrun;
  options.limited_multishot = multishot;
  return {};
}

Result<std::unique_ptr<Engine>> make_engine(const EngineOptions& options) {
  if (options.choice == EngineChoice::kEpoll) return std::make_unique<EpollEngine>("as configured");
  uring::LoopOptions loop_options;
  loop_options.ring.defer_taskrun = options.defer_taskrun;
  loop_options.ring.limited_multishot = options.limited_multishot;
  loop_options.spin = options.spin;
  auto loop = uring::Loop::create(loop_options);
  if (loop) return std::make_unique<UringEngine>(std::move(*loop));
  if (options.choice == EngineChoice::kIoUring) return fail(std::move(loop).error());
  return std::make_unique<EpollEngine>(loop.error().message());
}

}  // namespace weft::runtime
