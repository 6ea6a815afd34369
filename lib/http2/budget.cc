#include "lib/http2/budget.h"

namespace weft::http2 {

std::string_view to_string(Breach breach) {
  switch (breach) {
    case Breach::kResets: return "resets";
    case Breach::kControlFrames: return "control_frames";
    case Breach::kNoProgress: return "no_progress";
    case Breach::kTinyFrames: return "tiny_frames";
    case Breach::kHeaderBlock: return "header_block";
    case Breach::kHeaderTimeout: return "header_timeout";
  }
  return "unknown";
}

bool Budget::break_with(Breach why) {
  if (!breach_) breach_ = why;
  return false;
}

bool Budget::begin_frame(const FrameHeader& frame, MonotonicTime now) {
  used_ = false;
  switch (frame.type) {
    case kFrameData:
    case kFrameReset: return true;
    case kFrameHeaders:
    case kFrameContinuation:
      block_open_ = true;
      continuations_ = frame.type == kFrameHeaders ? 0 : continuations_ + 1;
      block_size_ = frame.type == kFrameHeaders ? frame.length : block_size_ + frame.length;
      return (continuations_ <= kContinuationsMax && block_size_ <= header_block_max_) || break_with(Breach::kHeaderBlock);
    case kFrameSettings: return on_control(frame.flags & kFlagAck ? 1 : kSettingsCost, now);
    default: return on_control(1, now);
  }
}

bool Budget::end_frame(const FrameHeader& frame, MonotonicTime now) {
  if (frame.type == kFrameHeaders || frame.type == kFrameContinuation) block_open_ = !(frame.flags & kFlagEndHeaders);
  if (used_) return true;
  if (frame.type == kFrameHeaders) return on_unwanted_headers(now);
  if (frame.type != kFrameData) return true;
  const bool empty = frame.length == 0 || frame.flags & kFlagPadded;
  const bool ends = frame.length == 0 && frame.flags & kFlagEndStream;
  return waste_.take(empty && !ends ? kEmptyFrameCost : 1, now) || break_with(Breach::kNoProgress);
}

bool Budget::on_payload(std::size_t size) {
  used_ = true;
  control_.refund(kControlPerDataReceived);
  waste_.refund(kEmptyFrameCost);
  if (size >= kTinyPayload) return true;
  return ++tiny_unread_ <= kTinyUnreadMax || break_with(Breach::kTinyFrames);
}

}  // namespace weft::http2
