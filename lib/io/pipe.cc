#include "lib/io/pipe.h"

#include "lib/async/event.h"

namespace weft::io {
namespace {

// One direction.
struct Channel {
  explicit Channel(Loop& loop, std::size_t limit) : capacity(limit), readable(loop), writable(loop) { writable.set(); }
  std::size_t capacity;
  BufferChain data;
  bool finished = false;  // writer ended
  bool reset = false;     // either side gave up
  Event readable;
  Event writable;

  void give_up() {
    reset = true;
    readable.set();
    writable.set();
  }
};

class PipeEnd final : public Stream {
 public:
  PipeEnd(std::shared_ptr<Channel> in, std::shared_ptr<Channel> out) : in_(std::move(in)), out_(std::move(out)) {}
  ~PipeEnd() override {
    if (!out_->finished) out_->give_up();
    if (!in_->finished || !in_->data.empty()) in_->give_up();
  }

  Task<Result<BufferChain>> read(std::size_t max) override {
    auto channel = in_;
    auto ready = co_await channel->readable.wait();
    (void)ready;
    if (aborted_) co_return fail(ErrorCode::kCancelled, "stream aborted");
    if (channel->reset) co_return fail(ErrorCode::kReset, "connection reset by peer");
    BufferChain data = channel->data.split(max);
    if (channel->data.empty() && !channel->finished) channel->readable.reset();
    if (channel->data.size() < channel->capacity) channel->writable.set();
    co_return std::move(data);
  }

  Task<Result<void>> write(BufferChain data) override {
    auto channel = out_;
    auto room = co_await channel->writable.wait();
    (void)room;
    if (aborted_) co_return fail(ErrorCode::kCancelled, "stream aborted");
    if (channel->reset) co_return fail(ErrorCode::kReset, "connection reset by peer");
    channel->data.append(std::move(data));
    if (!channel->data.empty()) channel->readable.set();
    if (channel->data.size() >= channel->capacity) channel->writable.reset();
    co_return Result<void>{};
  }

  Task<Result<void>> shutdown_write() override {
    if (aborted_) co_return fail(ErrorCode::kCancelled, "stream aborted");
    out_->finished = true;
    out_->readable.set();
    co_return Result<void>{};
  }

  void abort(AbortReason) override {
    if (aborted_) return;
    aborted_ = true;
    in_->give_up();
    out_->give_up();
  }

 private:
  std::shared_ptr<Channel> in_;
  std::shared_ptr<Channel> out_;
  bool aborted_ = false;
};

}  // namespace

std::pair<StreamPtr, StreamPtr> make_pipe(Loop& loop, std::size_t capacity) {
  auto forth = std::make_shared<Channel>(loop, capacity);
  auto back = std::make_shared<Channel>(loop, capacity);
  return {std::make_unique<PipeEnd>(back, forth), std::make_unique<PipeEnd>(forth, back)};
}

}  // namespace weft::io
