#include "lib/async/frame_allocator.h"

#include <array>
#include <new>

#include "lib/base/sanitizers.h"

namespace weft {
namespace {

constexpr std::size_t kClassSize = 64;
constexpr std::size_t kClasses = kRecycledFrameMax / kClassSize + 1;

constexpr bool kRecycle = !kAddressSanitizer;  // with it every frame is its own allocation, so that use after free is seen

struct FreeFrame {
  FreeFrame* next;
};

struct FramePool {
  std::array<FreeFrame*, kClasses> free{};
  std::array<std::size_t, kClasses> count{};
  bool gone = false;
  ~FramePool() {
    gone = true;
    for (auto* frame : free) {
      while (frame) {
        auto* next = frame->next;
        ::operator delete(frame);
        frame = next;
      }
    }
  }
};

thread_local FramePool pool;
thread_local std::ptrdiff_t alive = 0;

std::size_t class_of(std::size_t size) { return (size + kClassSize - 1) / kClassSize; }

}  // namespace

void* allocate_frame(std::size_t size) {
  ++alive;
  if (!kRecycle || size > kRecycledFrameMax) return ::operator new(size);
  const auto index = class_of(size);
  if (auto* frame = pool.free[index]; frame && !pool.gone) {
    pool.free[index] = frame->next;
    --pool.count[index];
    return frame;
  }
  return ::operator new(index * kClassSize);
}

std::ptrdiff_t frames_alive() { return alive; }

void free_frame(void* memory, std::size_t size) {
  --alive;
  if (kRecycle && size <= kRecycledFrameMax && !pool.gone) {
    const auto index = class_of(size);
    if (pool.count[index] < kRecycledFramesPerClass) {
      auto* frame = static_cast<FreeFrame*>(memory);
      frame->next = pool.free[index];
      pool.free[index] = frame;
      ++pool.count[index];
      return;
    }
  }
  ::operator delete(memory);
}

}  // namespace weft
