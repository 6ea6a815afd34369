#include "lib/asio/stream.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <vector>

#include "lib/asio/detail/descriptor.h"
#include "lib/linux/send_progress.h"
#include "lib/linux/socket_options.h"

namespace weft::asio {
namespace {

constexpr std::size_t kReceiveBlockSize = 64 * 1024;
constexpr std::size_t kReceiveBlocksPerRead = 4;  // 256 KiB a call: what the epoll engine needs to match the ring in bulk
constexpr std::size_t kReceiveBlocksKept = 16;    // 1 MiB a thread
constexpr std::size_t kCopyBelow = 4096;          // cheaper to copy than to tie up a block
constexpr std::size_t kSlicesPerSend = 64;
constexpr int kReadsPerTurn = 4;  // 1 MiB, then the others

// Free receive blocks of this thread.
struct ReceiveBlocks {
  std::vector<BufferBlock*> free;
  bool gone = false;
  ~ReceiveBlocks() {
    for (auto* block : free) ::operator delete(block);
    gone = true;
  }
};
thread_local ReceiveBlocks receive_blocks;

void release_receive_block(BufferBlock* block) {
  if (receive_blocks.gone || receive_blocks.free.size() >= kReceiveBlocksKept) {
    ::operator delete(block);
  } else {
    receive_blocks.free.push_back(block);
  }
}

BufferBlock* take_receive_block() {
  if (!receive_blocks.free.empty()) {
    auto* block = receive_blocks.free.back();
    receive_blocks.free.pop_back();
    block->references = 1;
    return block;
  }
  auto* block = new (::operator new(sizeof(BufferBlock) + kReceiveBlockSize)) BufferBlock;
  block->capacity = kReceiveBlockSize;
  block->data = reinterpret_cast<std::byte*>(block + 1);
  block->release = release_receive_block;
  return block;
}

// One non-blocking receive of at most about `max` bytes. The result of recvmsg(2); -errno on failure.
ssize_t receive(int fd, std::size_t max, BufferChain& out) {
  std::array<BufferBlock*, kReceiveBlocksPerRead> blocks;
  std::array<iovec, kReceiveBlocksPerRead> parts;
  std::size_t count = 0;
  for (std::size_t room = 0; count < blocks.size() && room < max; ++count) {
    blocks[count] = take_receive_block();
    const auto size = std::min(kReceiveBlockSize, max - room);
    parts[count] = {blocks[count]->data, size};
    room += size;
  }
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = count;
  ssize_t got;
  do {
    got = ::recvmsg(fd, &message, MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  const ssize_t result = got < 0 ? -errno : got;
  std::size_t left = got > 0 ? static_cast<std::size_t>(got) : 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto size = std::min(left, parts[i].iov_len);
    left -= size;
    if (size > kCopyBelow) {
      out.append(Buffer::adopt(blocks[i], blocks[i]->data, size));
      continue;
    }
    if (size > 0) out.append(Buffer::copy_of(std::span(blocks[i]->data, size)));
    blocks[i]->drop();
  }
  return result;
}

ssize_t send(int fd, const BufferChain& data) {
  std::array<iovec, kSlicesPerSend> parts;
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = data.fill_iovec(parts.data(), parts.size());
  ssize_t sent;
  do {
    sent = ::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? -errno : sent;
}

class SocketStream final : public io::Stream {
 public:
  SocketStream(Loop& loop, Fd fd) : loop_(loop), descriptor_(loop, std::move(fd)) {}

  Task<Result<BufferChain>> read(std::size_t max) override {
    for (;;) {
      if (aborted_) co_return fail(ErrorCode::kCancelled, "connection aborted");
      if (std::exchange(drained_, false)) {
        reads_without_pause_ = 0;
        co_await descriptor_.ready(Descriptor::kRead);
        continue;
      }
      BufferChain data;
      const std::size_t size = std::clamp<std::size_t>(max, 1, kReceiveBlocksPerRead * kReceiveBlockSize);
      const auto got = receive(descriptor_.fd(), size, data);
      if (got > 0) {
        drained_ = static_cast<std::size_t>(got) < size;
        // Bounds how long a chain of awaits that never suspend may keep the loop for itself.
        if (++reads_without_pause_ >= kReadsPerTurn) co_await pause();
        co_return std::move(data);
      }
      if (got == 0 && reset_) co_return fail(ErrorCode::kReset, "connection reset by peer");
      if (got == 0) co_return BufferChain();
      if (got != -EAGAIN) co_return fail(note(static_cast<int>(-got), "read"));
      drained_ = true;
    }
  }

  Task<Result<void>> write(BufferChain data) override {
    while (!data.empty()) {
      if (aborted_) co_return fail(ErrorCode::kCancelled, "connection aborted");
      const auto sent = send(descriptor_.fd(), data);
      if (sent >= 0) {
        data.remove_prefix(static_cast<std::size_t>(sent));
        continue;
      }
      if (sent != -EAGAIN) co_return fail(note(static_cast<int>(-sent), "write"));
      co_await descriptor_.ready(Descriptor::kWrite);
    }
    if (aborted_) co_return fail(ErrorCode::kCancelled, "connection aborted");
    co_return Result<void>{};
  }

  Task<Result<void>> shutdown_write() override {
    if (aborted_) co_return fail(ErrorCode::kCancelled, "connection aborted");
    if (::shutdown(descriptor_.fd(), SHUT_WR) != 0) co_return fail(note(errno, "shutdown"));
    co_return Result<void>{};
  }

  io::Backlog backlog() override {
    if (aborted_) return {};
    const auto progress = linux::send_progress(descriptor_.fd());
    return {.waiting = progress.unsent > 0, .moved = progress.acknowledged};
  }

  void abort(io::AbortReason reason) override {
    if (aborted_) return;
    aborted_ = true;
    if (reason == io::AbortReason::kReset) {
      linux::reset_connection(descriptor_.fd());
    } else {
      ::shutdown(descriptor_.fd(), SHUT_RDWR);
    }
    descriptor_.cancel();
  }

 private:
  Task<void> pause() {
    reads_without_pause_ = 0;
    co_await yield_to(loop_);
  }

  // The kernel reports a reset once, to whichever call comes first; the other sees an end of stream or EPIPE. While our
  // direction is open nothing else leads to EPIPE.
  Error note(int os_error, std::string_view call) {
    if (os_error == ECONNRESET || os_error == EPIPE) reset_ = true;
    if (reset_) os_error = ECONNRESET;
    return Error::from_errno(os_error, call);
  }

  Loop& loop_;
  Descriptor descriptor_;
  int reads_without_pause_ = 0;
  bool drained_ = true;  // the last receive took all there was: wait before the next
  bool aborted_ = false;
  bool reset_ = false;
};

}  // namespace

io::StreamPtr make_stream(Loop& loop, Fd fd) { return std::make_unique<SocketStream>(loop, std::move(fd)); }

}  // namespace weft::asio
