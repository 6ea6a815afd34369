// What the peer of one HTTP/2 connection may cost us before the connection is ended, and the counts kept for it.
//
// HTTP/2 lets a peer make us work without moving a byte for anybody: resets, pings, settings, empty frames, frames of one
// byte. Each kind is paid for from a bucket that useful progress refills, bytes that an application took or sent first of
// all, so that what an honest peer does beside its work costs it nothing. A bucket that is empty is a breach: GOAWAY with
// ENHANCE_YOUR_CALM, and the connection ends. Nothing here allocates; a frame costs a few additions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "lib/base/token_bucket.h"
#include "lib/http2/frame_scanner.h"

namespace weft::http2 {

// Why a peer's connection was ended; to_string() is the label of the counter.
enum class Breach : std::uint8_t {
  kResets,         // streams that were opened and reset before they carried a byte (CVE-2023-44487, CVE-2025-8671)
  kControlFrames,  // PING, SETTINGS, PRIORITY, WINDOW_UPDATE and unknown frames (CVE-2019-9512, -9513, -9515)
  kNoProgress,     // DATA that is empty, padding only, or for streams that are gone (CVE-2019-9518); requests refused;
                   // HEADERS that nobody waits for
  kTinyFrames,     // DATA of a few bytes that nobody reads
  kHeaderBlock,    // CONTINUATION without end, or a header block too long to be a request (CVE-2024-27316)
  kHeaderTimeout,  // a header block that was begun and not finished
};
inline constexpr std::size_t kBreachCount = 6;
std::string_view to_string(Breach breach);

// Resets: a client that gives up on 500 connections at once, or on 33 a second for ever, has not lost its others. The
// upstream's own figure for the rate; streams that carried bytes are free whatever their end.
inline constexpr std::uint32_t kResetBurst = 500;
inline constexpr std::uint32_t kResetsPerSecond = 33;

// Control frames: a peer probing the path with a PING a round trip, and updating windows at every read, sends a few for
// each DATA frame, in either direction. The rest is keepalive.
inline constexpr std::uint32_t kControlBurst = 1000;
inline constexpr std::uint32_t kControlPerSecond = 20;
inline constexpr std::uint32_t kControlPerDataSent = 8;
inline constexpr std::uint32_t kControlPerDataReceived = 1;
inline constexpr std::uint32_t kControlPerStream = 4;
// SETTINGS: changes of the initial window visit every open stream. Two or three frames is what a connection needs.
inline constexpr std::uint32_t kSettingsCost = 20;
// Answers (PING, SETTINGS) waiting to be sent to a peer that does not read.
inline constexpr std::size_t kQueuedAcksMax = 100;
// Frames of any kind waiting to be sent: 200 streams with an answer, an update and a reset each, four times over.
inline constexpr std::size_t kQueuedFramesMax = 2400;

// Waste: DATA for a stream that we have ended is in flight legitimately, up to a window of it (4 MiB in frames of 64 bytes
// is the burst). Empty DATA and padding have no use at all: 100 in a row.
inline constexpr std::uint32_t kWasteBurst = 65'536;
inline constexpr std::uint32_t kWastePerSecond = 1000;
inline constexpr std::uint32_t kEmptyFrameCost = kWasteBurst / 100;

// Requests that we answer with a refusal: an application that may not speak to its peer tries again, with hundreds of
// connections. 6,500 at once and 100 a second for ever; where others of the connection carry bytes, 65 more for each frame.
inline constexpr std::uint32_t kRefusedCost = 10;

// HEADERS that nobody waits for: of streams that are gone, never were or come after our GOAWAY, and interim responses. They
// are unpacked all the same, or the table would be out of step. 200 streams that we end at once may each have an answer and
// trailers under way, besides 200 requests that cross a GOAWAY: 655 at once, 10 a second, 6 more for each frame of bytes.
inline constexpr std::uint32_t kUnwantedHeadersCost = 100;

// Frames below this size cost us more than they carry. Each is counted until as many bytes were taken by the application:
// interactive traffic, byte by byte, is never near the bound, and a reader that has stalled is not blamed on its writer
// before 131,072 of them lie unread.
inline constexpr std::size_t kTinyPayload = 64;
inline constexpr std::uint32_t kTinyUnreadMax = 131'072;

// Header blocks: at most a HEADERS frame and eight CONTINUATIONs (nghttp2's own figure), as many bytes on the wire as
// Settings::max_header_list allows decoded, and fields as a request of the mesh has ten times over.
inline constexpr std::uint32_t kContinuationsMax = 8;
inline constexpr std::size_t kHeaderFieldsMax = 64;
inline constexpr Duration kHeaderBlockTimeout = std::chrono::seconds(5);
// HPACK memory, each way (RFC 7541 4.2; nghttp2's default, here so that it stays).
inline constexpr std::uint32_t kHeaderTableSize = 4096;

// Server: requests being handled, those of streams that were reset included: a reset frees its place only when the work
// behind it has ended. Twice the announced limit, since an honest peer may open the next before we have cleaned up.
inline constexpr std::size_t kHandledPerAnnounced = 2;

// Frames handled in one turn of the loop before other connections get theirs.
inline constexpr std::uint32_t kFramesPerTurn = 512;
// What a read costs besides its frames, in frames: whatever cost the layers below, a turn has its end after eight.
inline constexpr std::uint32_t kFramesPerRead = 64;

// The counts of one connection. Each note returns false when it is one too many; `breach` is then set and stays.
class Budget {
 public:
  explicit Budget(std::size_t header_block_max) : header_block_max_(header_block_max) {}

  const std::optional<Breach>& breach() const { return breach_; }
  bool break_with(Breach why);

  // A frame was begun, before anything is done about it; and was received to its end. RST_STREAM is not charged here.
  bool begin_frame(const FrameHeader& frame, MonotonicTime now);
  bool end_frame(const FrameHeader& frame, MonotonicTime now);
  // Between the two: DATA payload, and a header block, that somebody is there for.
  bool on_payload(std::size_t size);
  void on_header_block() { used_ = true; }
  // A reset of a stream that had carried nothing, by the peer or provoked by it; and of one that is gone.
  bool on_idle_reset(MonotonicTime now) { return resets_.take(1, now) || break_with(Breach::kResets); }
  // Server: a request was answered by a refusal, nothing came of it.
  bool on_refused(MonotonicTime now) { return waste_.take(kRefusedCost, now) || break_with(Breach::kNoProgress); }
  bool on_unwanted_headers(MonotonicTime now) {
    return waste_.take(kUnwantedHeadersCost, now) || break_with(Breach::kNoProgress);
  }
  bool on_control(std::uint32_t cost, MonotonicTime now) {
    return control_.take(cost, now) || break_with(Breach::kControlFrames);
  }
  bool header_block_open() const { return block_open_; }

  // Progress.
  void on_taken(std::size_t bytes) {
    tiny_unread_ -= bytes < tiny_unread_ ? static_cast<std::uint32_t>(bytes) : tiny_unread_;
  }
  void on_data_sent() { control_.refund(kControlPerDataSent); }
  void on_new_stream() { control_.refund(kControlPerStream); }

  std::uint32_t tiny_unread() const { return tiny_unread_; }

 private:
  const std::size_t header_block_max_;
  TokenBucket resets_{kResetBurst, kResetsPerSecond};
  TokenBucket control_{kControlBurst, kControlPerSecond};
  TokenBucket waste_{kWasteBurst, kWastePerSecond};
  std::uint32_t tiny_unread_ = 0;
  std::size_t block_size_ = 0;
  std::uint32_t continuations_ = 0;
  bool block_open_ = false;
  bool used_ = false;  // there is somebody for what the frame holds
  std::optional<Breach> breach_;
};

}  // namespace weft::http2
