// What a client of the load generator says first on every connection, and what the server answers. Both run on one machine,
// so numbers are in its byte order.
#pragma once

#include <cstdint>

namespace weft::load {

enum class Mode : std::uint8_t {
  kEcho = 'e',         // everything comes back
  kSink = 's',         // pattern bytes until the client finishes writing, then a SinkReport; edges are checked
  kSinkChecked = 'S',  // the same with every byte checked
  kSource = 'g',       // after one more byte from the client the server sends `size` pattern bytes, then finishes writing
};

struct Request {
  char magic[7] = {'w', 'e', 'f', 't', 'l', 'd', '1'};
  Mode mode = Mode::kEcho;
  std::uint64_t size = 0;
};
static_assert(sizeof(Request) == 16);

// One byte, sent as soon as the request has arrived: the whole path stands then.
inline constexpr char kAccepted = 'k';

struct SinkReport {
  std::uint64_t received = 0;
  std::uint64_t intact = 0;  // 1 when all that was checked had the expected value
};

}  // namespace weft::load
