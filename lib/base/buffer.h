// Bytes in flight: reference-counted blocks, read-only slices of them, and chains of slices.
//
// Data moves through the proxy as chains of slices; layers add and cut slices without copying. A block belongs to one
// thread: its count is not atomic, and slices of it never leave the thread (between threads only published values pass).
// Blocks come from three places: the heap (below), a receive ring lent to the kernel (lib/uring), and static storage.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/check.h"

namespace weft {

// Header of a block. `release` returns the memory to where it came from when the last slice goes.
struct BufferBlock {
  std::uint32_t references = 1;
  std::uint32_t capacity = 0;
  std::byte* data = nullptr;
  void (*release)(BufferBlock*) = nullptr;

  void retain() { ++references; }
  void drop() {
    if (--references == 0) release(this);
  }
};

// A fresh heap block with one reference. Blocks of kPooledBlockSize are recycled through a per-thread free list
// (at most kPooledBlocksMax kept, so that a burst does not pin memory).
inline constexpr std::size_t kPooledBlockSize = 16 * 1024 + 512;  // one TLS record with room for its header and tag
inline constexpr std::size_t kPooledBlocksMax = 64;
BufferBlock* allocate_block(std::size_t capacity);

// A read-only slice of a block. Copying shares the block.
class Buffer {
 public:
  Buffer() = default;
  // Takes over one reference of `block`; `size` bytes at `data` inside it.
  static Buffer adopt(BufferBlock* block, const std::byte* data, std::size_t size) {
    Buffer buffer;
    buffer.block_ = block;
    buffer.data_ = data;
    buffer.size_ = size;
    return buffer;
  }
  // A heap copy.
  static Buffer copy_of(std::span<const std::byte> bytes);
  static Buffer copy_of(std::string_view text) { return copy_of(std::as_bytes(std::span(text))); }
  // Bytes that live for ever; no block.
  static Buffer literal(std::string_view text) {
    return adopt(nullptr, reinterpret_cast<const std::byte*>(text.data()), text.size());
  }

  Buffer(const Buffer& other) : block_(other.block_), data_(other.data_), size_(other.size_) {
    if (block_) block_->retain();
  }
  Buffer(Buffer&& other) noexcept
      : block_(std::exchange(other.block_, nullptr)),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer other) noexcept {
    std::swap(block_, other.block_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Buffer() {
    if (block_) block_->drop();
  }

  const std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::span<const std::byte> span() const { return {data_, size_}; }
  std::string_view view() const { return {reinterpret_cast<const char*>(data_), size_}; }
  // A part of this slice sharing its block.
  Buffer slice(std::size_t offset, std::size_t size) const {
    WEFT_CHECK(offset <= size_ && size <= size_ - offset);
    if (block_) block_->retain();
    return adopt(block_, data_ + offset, size);
  }
  // A slice around bytes known to lie inside this one (a parser's callback pointing into its input).
  Buffer slice_at(const void* start, std::size_t size) const {
    return slice(static_cast<std::size_t>(static_cast<const std::byte*>(start) - data_), size);
  }
  void remove_prefix(std::size_t count) {
    WEFT_CHECK(count <= size_);
    data_ += count;
    size_ -= count;
  }
  void truncate(std::size_t size) {
    WEFT_CHECK(size <= size_);
    size_ = size;
  }
  // True when no other slice shares the block (which is then safe to reuse in place).
  bool unique() const { return block_ && block_->references == 1; }
  // Size of the block behind the slice: what holding it costs. 0 for literals.
  std::size_t block_capacity() const { return block_ ? block_->capacity : 0; }
  BufferBlock* block() const { return block_; }

 private:
  BufferBlock* block_ = nullptr;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// Collects bytes in a block, then hands the filled part out as a slice.
class BufferWriter {
 public:
  explicit BufferWriter(std::size_t capacity = kPooledBlockSize) : block_(allocate_block(capacity)) {}
  BufferWriter(BufferWriter&& other) noexcept
      : block_(std::exchange(other.block_, nullptr)), start_(other.start_), size_(other.size_) {}
  BufferWriter& operator=(BufferWriter&&) = delete;
  ~BufferWriter() {
    if (block_) block_->drop();
  }

  std::size_t size() const { return size_; }
  std::size_t room() const { return block_->capacity - start_ - size_; }
  // Where the next byte goes; valid for room() bytes.
  std::byte* tail() { return block_->data + start_ + size_; }
  void commit(std::size_t count) {
    WEFT_CHECK(count <= room());
    size_ += count;
  }
  // Appends as much as fits; returns how much did.
  std::size_t append(std::span<const std::byte> bytes) {
    const std::size_t count = bytes.size() < room() ? bytes.size() : room();
    if (count) std::memcpy(tail(), bytes.data(), count);
    size_ += count;
    return count;
  }
  // The bytes written since the last take(); the writer goes on behind them in the same block.
  Buffer take() {
    block_->retain();
    Buffer buffer = Buffer::adopt(block_, block_->data + start_, size_);
    start_ += size_;
    size_ = 0;
    return buffer;
  }

 private:
  BufferBlock* block_;
  std::size_t start_ = 0;
  std::size_t size_ = 0;
};

// A sequence of slices. Moving is cheap; copying shares the blocks.
class BufferChain {
 public:
  BufferChain() = default;
  explicit BufferChain(Buffer buffer) { append(std::move(buffer)); }
  BufferChain(BufferChain&& other) noexcept
      : slices_(std::move(other.slices_)), head_(std::exchange(other.head_, 0)), size_(std::exchange(other.size_, 0)) {
    other.slices_.clear();
  }
  BufferChain& operator=(BufferChain&& other) noexcept {
    slices_ = std::move(other.slices_);
    other.slices_.clear();
    head_ = std::exchange(other.head_, 0);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }
  BufferChain(const BufferChain&) = default;
  BufferChain& operator=(const BufferChain&) = default;

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::size_t slice_count() const { return slices_.size() - head_; }
  const Buffer& slice(std::size_t index) const { return slices_[head_ + index]; }
  const Buffer& front() const { return slices_[head_]; }

  void append(Buffer buffer) {
    if (buffer.empty()) return;
    size_ += buffer.size();
    slices_.push_back(std::move(buffer));
  }
  void append(BufferChain other);
  void append(std::string_view copied) { append(Buffer::copy_of(copied)); }
  // Removes and returns the first slice; the chain must not be empty.
  Buffer pop_front();
  // Drops the first `count` bytes.
  void remove_prefix(std::size_t count);
  // Cuts off and returns the first `count` bytes (or all there are).
  BufferChain split(std::size_t count);
  // Copies the first out.size() bytes (or all there are) without removing them; returns how many.
  std::size_t peek(std::span<std::byte> out) const;
  void clear();
  // For gathered writes: fills at most `max` entries, returns how many.
  std::size_t fill_iovec(iovec* out, std::size_t max) const;
  std::string to_string() const;

 private:
  void compact();

  // Consumed slices stay at the front until half the vector is used up: pop_front is amortised O(1).
  std::vector<Buffer> slices_;
  std::size_t head_ = 0;
  std::size_t size_ = 0;
};

}  // namespace weft
