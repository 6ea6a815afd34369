// What a tunnel says about the workload at its end: the baggage header of W3C, with the keys of OpenTelemetry. For labels
// only, never for decisions: the peer writes what it likes. Pure.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "lib/model/workload.h"

namespace weft::model {

// An empty text: not given.
struct Baggage {
  std::string cluster;
  std::string namespace_name;
  std::string workload_name;
  std::string canonical_name;
  std::string canonical_revision;
  std::string region;
  std::string zone;
  friend bool operator==(const Baggage&, const Baggage&) = default;
};

// Comma-joined key=value without spaces or encoding; what is empty, or cannot be written so, is left out. At most 8192
// bytes (W3C Baggage §3.3.2): what does not fit is left out.
std::string format_baggage(const Workload& workload);

// All instances of the header together; later keys win, unknown keys are ignored, nothing is trimmed. A value that is not
// visible ASCII, or more than 8192 bytes in all, discards everything.
Baggage parse_baggage(std::span<const std::string_view> fields);

}  // namespace weft::model
