#include "lib/base/buffer.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <new>

namespace weft {
namespace {

// Per-thread recycling of TLS-record sized blocks; freed when the thread ends.
struct BlockPool {
  std::vector<BufferBlock*> free;
  ~BlockPool() {
    for (auto* block : free) ::operator delete(block);
    gone = true;
  }
  bool gone = false;
};

thread_local BlockPool block_pool;

void release_plain(BufferBlock* block) { ::operator delete(block); }

void release_pooled(BufferBlock* block) {
  if (block_pool.gone || block_pool.free.size() >= kPooledBlocksMax) {
    ::operator delete(block);
    return;
  }
  block_pool.free.push_back(block);
}

}  // namespace

void check_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "check failed: %s at %s:%d\n", expression, file, line);
  std::abort();
}

BufferBlock* allocate_block(std::size_t capacity) {
  const bool pooled = capacity <= kPooledBlockSize && capacity > kPooledBlockSize / 4;
  if (pooled) {
    capacity = kPooledBlockSize;
    if (!block_pool.gone && !block_pool.free.empty()) {
      auto* block = block_pool.free.back();
      block_pool.free.pop_back();
      block->references = 1;
      return block;
    }
  }
  auto* block = new (::operator new(sizeof(BufferBlock) + capacity)) BufferBlock;
  block->capacity = static_cast<std::uint32_t>(capacity);
  block->data = reinterpret_cast<std::byte*>(block + 1);
  block->release = pooled ? release_pooled : release_plain;
  return block;
}

Buffer Buffer::copy_of(std::span<const std::byte> bytes) {
  if (bytes.empty()) return {};
  auto* block = allocate_block(bytes.size());
  std::memcpy(block->data, bytes.data(), bytes.size());
  return adopt(block, block->data, bytes.size());
}

void BufferChain::append(BufferChain other) {
  if (slice_count() == 0) {
    *this = std::move(other);
    return;
  }
  size_ += other.size_;
  for (std::size_t i = other.head_; i < other.slices_.size(); ++i) slices_.push_back(std::move(other.slices_[i]));
  other.clear();
}

Buffer BufferChain::pop_front() {
  WEFT_CHECK(slice_count() > 0);
  Buffer buffer = std::move(slices_[head_++]);
  size_ -= buffer.size();
  compact();
  return buffer;
}

void BufferChain::remove_prefix(std::size_t count) {
  WEFT_CHECK(count <= size_);
  size_ -= count;
  while (count > 0) {
    Buffer& first = slices_[head_];
    if (count < first.size()) {
      first.remove_prefix(count);
      return;
    }
    count -= first.size();
    first = Buffer();
    ++head_;
  }
  compact();
}

BufferChain BufferChain::split(std::size_t count) {
  if (count >= size_) return std::exchange(*this, BufferChain());
  BufferChain out;
  while (count > 0) {
    Buffer& first = slices_[head_];
    if (count < first.size()) {
      out.append(first.slice(0, count));
      first.remove_prefix(count);
      size_ -= count;
      break;
    }
    count -= first.size();
    out.append(pop_front());
  }
  return out;
}

std::size_t BufferChain::peek(std::span<std::byte> out) const {
  std::size_t done = 0;
  for (std::size_t i = head_; i < slices_.size() && done < out.size(); ++i) {
    const auto part = std::min(slices_[i].size(), out.size() - done);
    std::memcpy(out.data() + done, slices_[i].data(), part);
    done += part;
  }
  return done;
}

void BufferChain::clear() {
  slices_.clear();
  slices_.shrink_to_fit();
  head_ = 0;
  size_ = 0;
}

std::size_t BufferChain::fill_iovec(iovec* out, std::size_t max) const {
  std::size_t count = 0;
  for (std::size_t i = head_; i < slices_.size() && count < max; ++i, ++count) {
    out[count].iov_base = const_cast<std::byte*>(slices_[i].data());
    out[count].iov_len = slices_[i].size();
  }
  return count;
}

std::string BufferChain::to_string() const {
  std::string text;
  text.reserve(size_);
  for (std::size_t i = head_; i < slices_.size(); ++i) text += slices_[i].view();
  return text;
}

void BufferChain::compact() {
  if (head_ == slices_.size()) {
    slices_.clear();
    head_ = 0;
  } else if (head_ >= 16 && head_ * 2 >= slices_.size()) {
    slices_.erase(slices_.begin(), slices_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
  }
}

}  // namespace weft
