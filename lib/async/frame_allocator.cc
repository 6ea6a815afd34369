#include "lib/async/frame_allocator.h"

#include <array>
#include <new>

namespace weft {
namespace {

constexpr std::size_t kClassSize = 64;
constexpr std::size_t kClasses = kRecycledFrameMax / kClassSize + 1;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kRecycle = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool kRecycle = false;  // every frame is its own allocation, so that use after free is seen
#else
constexpr bool kRecycle = true;
#endif
#else
constexpr bool kRecycle = true;
#endif

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
