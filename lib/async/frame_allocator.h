// Memory for coroutine frames: recycled per thread in size classes, so that a suspended call costs no trip to malloc.
#pragma once

#include <cstddef>

namespace weft {

// Frames above this size go straight to the heap.
inline constexpr std::size_t kRecycledFrameMax = 2048;
// Free frames kept per size class and thread: enough for a burst of connections, 64 x 2 KiB at the worst.
inline constexpr std::size_t kRecycledFramesPerClass = 64;

void* allocate_frame(std::size_t size);
void free_frame(void* memory, std::size_t size);

// Frames that this thread has allocated less those that it has freed. What a test began and ended leaves it as it was.
std::ptrdiff_t frames_alive();

}  // namespace weft
