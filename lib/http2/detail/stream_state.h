// What a stream's handle (Stream) and its connection share. For this folder's sources only.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "lib/http2/connection.h"

namespace weft::http2 {

// Unread data of one stream: beyond so many slices small ones are gathered in blocks, or one byte of payload would cost a
// slice and the frame around it.
inline constexpr std::size_t kSlicesMax = 16;
inline constexpr std::size_t kGathered = 2 * 1024;
inline constexpr std::size_t kGatherBlock = 4 * 1024;

// Shared by the handle a user holds and the connection; either may go first.
struct Stream::State {
  explicit State(Loop& loop) : readable(loop), writable(loop), answered(loop) { writable.set(); }
  std::int32_t id = 0;
  Headers request;
  std::optional<Headers> response;
  Headers trailers;

  BufferChain in;                        // received, not read yet
  std::optional<BufferWriter> gathered;  // the end of it, while small pieces come faster than they are read
  std::size_t unconsumed = 0;            // read, not reported consumed yet
  std::uint64_t written = 0;             // by write()
  bool in_ended = false;
  bool out_ended = false;
  bool responding = false;     // server: a response with a body was begun (clients: always)
  bool closed = false;         // the stream is gone from the session
  std::optional<Error> error;  // why it ended early
  Event readable;
  Event writable;
  Event answered;

  std::function<void()> lost;

  // Few large slices stay slices; many small ones become one block.
  void take_in(Buffer data) {
    if (data.size() >= kGathered || (!gathered && in.slice_count() < kSlicesMax)) {
      flush_gathered();
      in.append(std::move(data));
      return;
    }
    auto rest = data.span();
    while (!rest.empty()) {
      if (!gathered) gathered.emplace(kGatherBlock);
      rest = rest.subspan(gathered->append(rest));
      if (gathered->room() == 0) flush_gathered();
    }
  }
  void flush_gathered() {
    if (!gathered) return;
    if (gathered->size() > 0) in.append(gathered->take());
    gathered.reset();
  }
  std::size_t unread() const { return in.size() + (gathered ? gathered->size() : 0); }
  void drop_unread() {
    in.clear();
    gathered.reset();
  }
  void wake() {
    readable.set();
    writable.set();
    answered.set();
  }
};

}  // namespace weft::http2
