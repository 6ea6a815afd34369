// Finds the frames in a peer's bytes by their headers alone (RFC 9113 §4.1).
//
// nghttp2 says nothing of frames that it passes over: unknown types, DATA and HEADERS of streams that are gone. They are
// what a flood is best made of, so their headers are read here, before it. A few instructions a frame, nothing a byte; no
// allocation.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace weft::http2 {

enum FrameType : std::uint8_t {
  kFrameData = 0,
  kFrameHeaders = 1,
  kFrameReset = 3,
  kFrameSettings = 4,
  kFrameContinuation = 9,
};
enum FrameFlag : std::uint8_t { kFlagAck = 1, kFlagEndStream = 1, kFlagEndHeaders = 4, kFlagPadded = 8 };

struct FrameHeader {
  std::size_t length = 0;
  std::uint8_t type = 0;
  std::uint8_t flags = 0;
  std::int32_t stream = 0;
};

class FrameScanner {
 public:
  // The first `preface` bytes are no frame.
  explicit FrameScanner(std::size_t preface) : preface_left_(preface) {}

  struct Step {
    std::size_t size;  // bytes up to the end of a frame, or all that were given
    bool begins;       // they complete a frame's header: frame() is new
    bool ends;         // they complete the frame
  };
  // `bytes` is not empty and goes on where the last step ended.
  Step step(std::span<const std::byte> bytes) {
    if (preface_left_ > 0) {
      const auto skipped = std::min(preface_left_, bytes.size());
      preface_left_ -= skipped;
      return {skipped, false, false};
    }
    std::size_t used = 0;
    bool begins = false;
    if (header_size_ < header_.size()) {
      used = std::min(header_.size() - header_size_, bytes.size());
      std::memcpy(header_.data() + header_size_, bytes.data(), used);
      header_size_ += used;
      if (header_size_ < header_.size()) return {used, false, false};
      parse();
      begins = true;
    }
    const auto payload = std::min(payload_left_, bytes.size() - used);
    payload_left_ -= payload;
    const bool ends = payload_left_ == 0;
    if (ends) header_size_ = 0;
    return {used + payload, begins, ends};
  }
  const FrameHeader& frame() const { return frame_; }

 private:
  void parse() {
    const auto byte = [this](std::size_t i) { return static_cast<std::uint32_t>(header_[i]); };
    frame_.length = byte(0) << 16 | byte(1) << 8 | byte(2);
    frame_.type = header_[3];
    frame_.flags = header_[4];
    frame_.stream = static_cast<std::int32_t>((byte(5) & 0x7f) << 24 | byte(6) << 16 | byte(7) << 8 | byte(8));
    payload_left_ = frame_.length;
  }

  std::size_t preface_left_;
  std::array<std::uint8_t, 9> header_{};
  std::size_t header_size_ = 0;
  std::size_t payload_left_ = 0;
  FrameHeader frame_;
};

}  // namespace weft::http2
