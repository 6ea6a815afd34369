// Length-prefixed messages inside a gRPC stream: one flag byte, four bytes of length, the message.
#pragma once

#include <optional>
#include <string>

#include "lib/base/buffer.h"
#include "lib/base/result.h"

namespace weft::grpc {

inline constexpr std::size_t kMessagePrefix = 5;
inline constexpr std::size_t kMessageMaxDefault = 8u << 20;
// For control planes that push a whole mesh in one message.
inline constexpr std::size_t kMessageMaxLimit = 200u << 20;

// One message as it goes into DATA. We never compress.
BufferChain frame_message(std::string_view message);

// Collects DATA and cuts it into messages, wherever frames were split.
class MessageReader {
 public:
  // Larger messages are refused before their bytes are collected.
  explicit MessageReader(std::size_t message_max) : message_max_(message_max) {}
  void append(BufferChain data) { data_.append(std::move(data)); }
  // The next whole message, or none yet. kLimit: too large. kUnsupported: compressed, which we never offer.
  Result<std::optional<std::string>> next();
  // The stream may end here: no message is half read.
  bool at_boundary() const { return data_.empty(); }

 private:
  std::size_t message_max_;
  BufferChain data_;
};

}  // namespace weft::grpc
