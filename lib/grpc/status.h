// How a gRPC call ended, and its form on the wire (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md and doc/statuscodes.md).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/result.h"
#include "lib/http2/settings.h"

namespace weft::grpc {

enum class Code : std::uint8_t {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

// "Unavailable": the names of doc/statuscodes.md in the spelling ztunnel logs.
std::string_view to_string(Code code);

struct Status {
  Code code = Code::kOk;
  std::string message;
  bool ok() const { return code == Code::kOk; }
};

// For callers that pass errors on; must not be ok.
Error to_error(const Status& status);
// What a failed stream means for its call.
Status from_error(const Error& error);

// grpc-message: bytes outside printable ASCII, and '%', as %XX. Decoding leaves broken escapes as they are.
std::string percent_encode(std::string_view text);
std::string percent_decode(std::string_view text);

// The status in trailers or in a trailers-only response; kUnknown when there is none.
Status status_from(const http2::Headers& fields);
// For answers that are not gRPC at all: what the HTTP status stands for (doc/http-grpc-status-mapping.md).
Status status_from_http(std::string_view http_status);

// grpc-timeout: at most eight digits and a unit.
std::string format_timeout(Duration timeout);
Result<Duration> parse_timeout(std::string_view text);

}  // namespace weft::grpc
