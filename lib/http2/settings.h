// Parameters of one HTTP/2 connection, RFC 9113 §6.5.2, and our own bounds. Sizes in bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/clock.h"

namespace weft::http2 {

enum class Role { kClient, kServer };

// Name and value; pseudo-header fields first. Names are lower-case.
using Headers = std::vector<std::pair<std::string, std::string>>;

// The value of the first field called `name`, or null.
const std::string* find(const Headers& headers, std::string_view name);

// RFC 9113 §7.
enum class ResetCode : std::uint32_t {
  kNoError = 0,
  kProtocolError = 1,
  kInternalError = 2,
  kRefusedStream = 7,
  kCancel = 8,
  kConnectError = 10,
  kEnhanceYourCalm = 11,
};

struct Settings {
  std::uint32_t stream_window = 4u << 20;  // SETTINGS_INITIAL_WINDOW_SIZE
  // Kept at 4 x the stream's: up to three readers that stall cannot stop others. Four can, Connection::window_used_up().
  std::uint32_t connection_window = 16u << 20;
  std::uint32_t max_frame_size = 1u << 20;     // SETTINGS_MAX_FRAME_SIZE we advertise
  std::uint32_t max_header_list = 16u << 10;   // enforced, not only advertised
  std::uint32_t max_concurrent_streams = 200;  // servers
  // Payload of the DATA frames we send: with its 9-byte header it fills one TLS record of 16,384 bytes.
  std::size_t data_payload = 16'375;
  // First PING after this time, and after each answer; an answer missing for `ping_timeout` ends the connection.
  Duration ping_interval = std::chrono::seconds(10);
  Duration ping_timeout = std::chrono::seconds(20);
};

}  // namespace weft::http2
