// What went wrong, on whose side, and in what context: the one error type of every fallible call.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace weft {

// What happened. Access-log flags, metric labels and HTTP statuses derive from the code, so a new reason for refusing a
// connection starts here.
enum class ErrorCode {
  kCancelled,        // our own stop request: shutdown, drain, pod removal
  kClosed,           // the stream or peer is gone in an orderly way where data was expected
  kReset,            // the connection was reset (TCP RST, RST_STREAM)
  kRefused,          // connection refused
  kTimeout,          // a deadline passed
  kUnreachable,      // no route, no host, network down
  kAddressInUse,     // bind conflict
  kPermission,       // EPERM, EACCES, or a credential was refused
  kNotFound,         // the named object does not exist
  kInvalidArgument,  // malformed input: configuration, authority, address, file
  kProtocol,         // a peer broke HTTP/2, gRPC, ZDS or CNI rules
  kTls,              // TLS set-up or record failure
  kIdentity,         // certificate or SPIFFE identity is not the expected one
  kDenied,           // an authorization policy says no
  kLimit,            // a bound of ours was reached
  kUnavailable,      // a dependency cannot answer now; worth a retry
  kUnsupported,      // known, but the kernel, library or peer cannot do it
  kIo,               // any other operating-system error
  kInternal,         // our own fault
};

// Lower-case name of a code, constant storage: "reset", "denied", ...
std::string_view to_string(ErrorCode code);

// Whether an errno value says that there are no descriptors or no memory now: that passes, and the same call may work then.
bool out_of_resources(int os_error);

// Whose side failed, seen from the connection that reports it.
enum class Side { kLocal, kDownstream, kUpstream };
std::string_view to_string(Side side);

class Error {
 public:
  Error(ErrorCode code, std::string context, Side side = Side::kLocal)
      : code_(code), side_(side), context_(std::move(context)) {}

  // Maps an errno value to a code and appends the system's text: "connect 10.0.0.1:80: Connection refused".
  static Error from_errno(int os_error, std::string_view context);

  ErrorCode code() const { return code_; }
  Side side() const { return side_; }
  // The errno behind it, 0 if there was none.
  int os_error() const { return os_error_; }
  // A sentence for people, without the code.
  const std::string& message() const { return context_; }

  Error on(Side side) && {
    side_ = side;
    return std::move(*this);
  }
  // The same error seen from one step further out: "<prefix>: <message>".
  Error within(std::string_view prefix) &&;

 private:
  ErrorCode code_;
  Side side_;
  int os_error_ = 0;
  std::string context_;
};

}  // namespace weft
