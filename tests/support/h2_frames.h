// HTTP/2 frames byte by byte, for peers that do what no library would (RFC 9113 §4, §6; RFC 7541 without Huffman or table).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft::h2raw {

enum Type : std::uint8_t {
  kData = 0,
  kHeaders = 1,
  kPriority = 2,
  kRstStream = 3,
  kSettings = 4,
  kPushPromise = 5,
  kPing = 6,
  kGoaway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
  kUnknown = 0xbe,
};
enum Flag : std::uint8_t { kNone = 0, kAck = 1, kEndStream = 1, kEndHeaders = 4, kPadded = 8 };

inline const std::string kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

inline std::string big_endian(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text += static_cast<char>(value >> (8 * i) & 0xff);
  return text;
}

// The 9 bytes before a payload of `length`.
inline std::string frame_header(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, std::size_t length) {
  return big_endian(length, 3) + static_cast<char>(type) + static_cast<char>(flags) + big_endian(stream, 4);
}
inline std::string frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, std::string_view payload = {}) {
  return frame_header(type, flags, stream, payload.size()).append(payload);
}

// RFC 7541 5.1, all bits of the first byte but `prefix` of them given.
inline std::string hpack_integer(std::uint8_t first, int prefix, std::size_t value) {
  const std::size_t most = (std::size_t{1} << prefix) - 1;
  if (value < most) return std::string(1, static_cast<char>(first | value));
  std::string text(1, static_cast<char>(first | most));
  for (value -= most; value >= 128; value >>= 7) text += static_cast<char>(value | 128);
  return text += static_cast<char>(value);
}
inline std::string literal(std::string_view name, std::string_view value) {
  return std::string(1, '\0') + hpack_integer(0, 7, name.size()) + std::string(name) + hpack_integer(0, 7, value.size()) +
         std::string(value);
}
// Kept in the peer's table (6.2.1).
inline std::string indexed_literal(std::string_view name, std::string_view value) {
  std::string text = literal(name, value);
  text[0] = 0x40;
  return text;
}

inline std::string connect_block(std::string_view authority = "10.0.0.2:8080") {
  return literal(":method", "CONNECT") + literal(":authority", authority);
}
inline std::string connect(std::uint32_t stream, std::string_view authority = "10.0.0.2:8080") {
  return frame(kHeaders, kEndHeaders, stream, connect_block(authority));
}
inline std::string reset(std::uint32_t stream, std::uint32_t code = 8) {
  return frame(kRstStream, kNone, stream, big_endian(code, 4));
}
inline std::string window_update(std::uint32_t stream, std::uint32_t increment) {
  return frame(kWindowUpdate, kNone, stream, big_endian(increment, 4));
}
inline std::string settings(const std::vector<std::pair<std::uint16_t, std::uint32_t>>& entries = {}) {
  std::string payload;
  for (const auto& [id, value] : entries) payload += big_endian(id, 2) + big_endian(value, 4);
  return frame(kSettings, kNone, 0, payload);
}
inline std::string ping() { return frame(kPing, kNone, 0, "12345678"); }
// What a client says first; the answer to the server's SETTINGS makes its windows count.
inline std::string hello() { return kPreface + settings() + frame(kSettings, kAck, 0); }

// What came back: complete frames taken off the front of `bytes`.
struct Frame {
  std::uint8_t type = 0, flags = 0;
  std::uint32_t stream = 0;
  std::string payload;
  // Of RST_STREAM and GOAWAY.
  std::uint32_t error() const {
    const std::size_t at = type == kGoaway ? 4 : 0;
    std::uint32_t code = 0;
    for (std::size_t i = at; i < at + 4 && i < payload.size(); ++i) code = code << 8 | static_cast<std::uint8_t>(payload[i]);
    return code;
  }
};
inline std::vector<Frame> parse(std::string_view bytes) {
  std::vector<Frame> frames;
  auto number = [](std::string_view text) {
    std::uint32_t value = 0;
    for (const char c : text) value = value << 8 | static_cast<std::uint8_t>(c);
    return value;
  };
  while (bytes.size() >= 9) {
    const auto length = number(bytes.substr(0, 3));
    if (bytes.size() < 9 + length) break;
    frames.push_back({static_cast<std::uint8_t>(bytes[3]), static_cast<std::uint8_t>(bytes[4]), number(bytes.substr(5, 4)),
                      std::string(bytes.substr(9, length))});
    bytes.remove_prefix(9 + length);
  }
  return frames;
}

}  // namespace weft::h2raw
