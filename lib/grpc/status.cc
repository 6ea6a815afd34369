#include "lib/grpc/status.h"

#include <algorithm>
#include <charconv>

namespace weft::grpc {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The largest number grpc-timeout may carry: eight digits.
constexpr std::int64_t kTimeoutMax = 99'999'999;

}  // namespace

std::string_view to_string(Code code) {
  static constexpr std::string_view kNames[] = {
      "Ok",       "Cancelled",      "Unknown",          "InvalidArgument",   "DeadlineExceeded",
      "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
      "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
      "DataLoss", "Unauthenticated"};
  return kNames[static_cast<std::size_t>(code)];
}

Error to_error(const Status& status) {
  ErrorCode code = ErrorCode::kInternal;
  switch (status.code) {
    case Code::kOk: break;
    case Code::kCancelled: code = ErrorCode::kCancelled; break;
    case Code::kDeadlineExceeded: code = ErrorCode::kTimeout; break;
    case Code::kInvalidArgument:
    case Code::kFailedPrecondition:
    case Code::kOutOfRange: code = ErrorCode::kInvalidArgument; break;
    case Code::kNotFound: code = ErrorCode::kNotFound; break;
    case Code::kPermissionDenied:
    case Code::kUnauthenticated: code = ErrorCode::kPermission; break;
    case Code::kResourceExhausted: code = ErrorCode::kLimit; break;
    case Code::kUnimplemented: code = ErrorCode::kUnsupported; break;
    case Code::kUnavailable:
    case Code::kAborted: code = ErrorCode::kUnavailable; break;
    default: code = ErrorCode::kProtocol; break;
  }
  return Error(code, "gRPC status " + std::to_string(static_cast<int>(status.code)) + ": " + status.message,
               Side::kUpstream);
}

Status from_error(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kCancelled: return {Code::kCancelled, error.message()};
    case ErrorCode::kTimeout: return {Code::kDeadlineExceeded, error.message()};
    case ErrorCode::kLimit: return {Code::kResourceExhausted, error.message()};
    case ErrorCode::kProtocol:
    case ErrorCode::kInternal: return {Code::kInternal, error.message()};
    default: return {Code::kUnavailable, error.message()};
  }
}

std::string percent_encode(std::string_view text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (c >= ' ' && c <= '~' && c != '%') {
      out += c;
    } else {
      out += '%';
      out += kDigits[static_cast<unsigned char>(c) >> 4];
      out += kDigits[static_cast<unsigned char>(c) & 15];
    }
  }
  return out;
}

std::string percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 && hex_value(text[i + 2]) >= 0) {
      out += static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

Status status_from(const http2::Headers& fields) {
  const auto* number = http2::find(fields, "grpc-status");
  if (!number) return {Code::kUnknown, "the server sent no grpc-status"};
  int code = -1;
  const auto [end, problem] = std::from_chars(number->data(), number->data() + number->size(), code);
  const bool whole = problem == std::errc() && end == number->data() + number->size();
  Status status{whole && code >= 0 && code <= 16 ? static_cast<Code>(code) : Code::kUnknown, {}};
  if (const auto* message = http2::find(fields, "grpc-message")) status.message = percent_decode(*message);
  return status;
}

Status status_from_http(std::string_view http_status) {
  Code code = Code::kUnknown;
  if (http_status == "400") code = Code::kInternal;
  if (http_status == "401") code = Code::kUnauthenticated;
  if (http_status == "403") code = Code::kPermissionDenied;
  if (http_status == "404") code = Code::kUnimplemented;
  if (http_status == "429" || http_status == "502" || http_status == "503" || http_status == "504")
    code = Code::kUnavailable;
  return {code, "HTTP status " + std::string(http_status) + " instead of a gRPC answer"};
}

std::string format_timeout(Duration timeout) {
  using namespace std::chrono;
  const auto micros = std::max<std::int64_t>(0, duration_cast<microseconds>(timeout).count());
  if (micros <= kTimeoutMax) return std::to_string(micros) + "u";
  if (micros / 1000 <= kTimeoutMax) return std::to_string(micros / 1000) + "m";
  return std::to_string(std::min(micros / 1'000'000, kTimeoutMax)) + "S";
}

Result<Duration> parse_timeout(std::string_view text) {
  using namespace std::chrono;
  std::int64_t count = 0;
  const bool sized = text.size() >= 2 && text.size() <= 9;
  const char* last = sized ? text.data() + text.size() - 1 : text.data();
  const auto [end, problem] = std::from_chars(text.data(), last, count);
  if (!sized || problem != std::errc() || end != last || count < 0)
    return fail(ErrorCode::kInvalidArgument, "malformed grpc-timeout");
  switch (*last) {
    // Eight digits of hours do not fit nanoseconds; nobody waits longer than a year anyway.
    case 'H': return Duration(hours(std::min<std::int64_t>(count, 24 * 365)));
    case 'M': return Duration(minutes(std::min<std::int64_t>(count, 60 * 24 * 365)));
    case 'S': return Duration(seconds(count));
    case 'm': return Duration(milliseconds(count));
    case 'u': return Duration(microseconds(count));
    case 'n': return Duration(nanoseconds(count));
    default: return fail(ErrorCode::kInvalidArgument, "malformed grpc-timeout");
  }
}

}  // namespace weft::grpc
