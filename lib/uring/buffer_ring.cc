#include "lib/uring/buffer_ring.h"

#include <sys/mman.h>

#include <cerrno>

#include "lib/uring/ring.h"

namespace weft::uring {

Result<BufferRing::Pointer> BufferRing::create(Ring& ring, unsigned group, BufferRingShape shape) {
  Pointer buffers(new BufferRing);
  buffers->shape_ = shape;
  buffers->group_ = group;
  buffers->entries_size_ = shape.count * sizeof(io_uring_buf);
  const int protection = PROT_READ | PROT_WRITE;
  void* entries = ::mmap(nullptr, buffers->entries_size_, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (entries == MAP_FAILED) return fail_errno(errno, "memory for a buffer ring");
  buffers->entries_ = static_cast<io_uring_buf_ring*>(entries);
  void* memory = ::mmap(nullptr, shape.count * shape.size, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return fail_errno(errno, "memory for receive buffers");
  buffers->memory_ = static_cast<std::byte*>(memory);

  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<std::uint64_t>(entries);
  registration.ring_entries = shape.count;
  registration.bgid = static_cast<std::uint16_t>(group);
  const int result = io_uring_register_buf_ring(ring.raw(), &registration, 0);
  if (result < 0) return fail_errno(-result, "register a buffer ring (needs kernel 5.19)");
  buffers->ring_ = &ring;

  io_uring_buf_ring_init(buffers->entries_);
  buffers->blocks_.resize(shape.count);
  for (unsigned id = 0; id < shape.count; ++id) {
    Block& block = buffers->blocks_[id];
    block.capacity = static_cast<std::uint32_t>(shape.size);
    block.data = buffers->memory_ + id * shape.size;
    block.release = &BufferRing::release;
    block.owner = buffers.get();
    block.id = id;
    buffers->recycle(id);
  }
  return buffers;
}

BufferRing::~BufferRing() {
  if (memory_) ::munmap(memory_, shape_.count * shape_.size);
  if (entries_) ::munmap(entries_, entries_size_);
}

void BufferRing::close() {
  if (ring_) io_uring_unregister_buf_ring(ring_->raw(), static_cast<int>(group_));
  ring_ = nullptr;
  if (lent_ == 0) delete this;
}

Buffer BufferRing::take(unsigned id, std::size_t size) {
  Block& block = blocks_[id];
  if (!may_lend()) {
    Buffer copy = Buffer::copy_of(look(id, size));
    recycle(id);
    return copy;
  }
  ++lent_;
  block.references = 1;
  return Buffer::adopt(&block, block.data, size);
}

void BufferRing::recycle(unsigned id) {
  io_uring_buf_ring_add(entries_, blocks_[id].data, static_cast<unsigned>(shape_.size), static_cast<std::uint16_t>(id),
                        io_uring_buf_ring_mask(shape_.count), 0);
  io_uring_buf_ring_advance(entries_, 1);
}

void BufferRing::release(BufferBlock* base) {
  auto* block = static_cast<Block*>(base);
  BufferRing* owner = block->owner;
  --owner->lent_;
  if (owner->ring_) {
    owner->recycle(block->id);
  } else if (owner->lent_ == 0) {
    delete owner;
  }
}

}  // namespace weft::uring
