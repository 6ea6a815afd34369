#include "lib/base/error.h"

#include <cerrno>
#include <system_error>

namespace weft {
namespace {

ErrorCode code_of(int os_error) {
  switch (os_error) {
    case ECANCELED: return ErrorCode::kCancelled;
    case EPIPE:
    case ENOTCONN:
    case ESHUTDOWN: return ErrorCode::kClosed;
    case ECONNRESET:
    case ECONNABORTED: return ErrorCode::kReset;
    case ECONNREFUSED: return ErrorCode::kRefused;
    case ETIMEDOUT: return ErrorCode::kTimeout;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN:
    case EHOSTDOWN: return ErrorCode::kUnreachable;
    case EADDRINUSE: return ErrorCode::kAddressInUse;
    case EPERM:
    case EACCES: return ErrorCode::kPermission;
    case ENOENT:
    case ENXIO:
    case ENODEV: return ErrorCode::kNotFound;
    case EINVAL:
    case EAFNOSUPPORT:
    case EADDRNOTAVAIL: return ErrorCode::kInvalidArgument;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case ENOSPC: return ErrorCode::kLimit;
    case ENOSYS:
    case EOPNOTSUPP:
    case ENOPROTOOPT: return ErrorCode::kUnsupported;
    case EAGAIN: return ErrorCode::kUnavailable;
    default: return ErrorCode::kIo;
  }
}

}  // namespace

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::kCancelled: return "cancelled";
    case ErrorCode::kClosed: return "closed";
    case ErrorCode::kReset: return "reset";
    case ErrorCode::kRefused: return "refused";
    case ErrorCode::kTimeout: return "timeout";
    case ErrorCode::kUnreachable: return "unreachable";
    case ErrorCode::kAddressInUse: return "address_in_use";
    case ErrorCode::kPermission: return "permission";
    case ErrorCode::kNotFound: return "not_found";
    case ErrorCode::kInvalidArgument: return "invalid_argument";
    case ErrorCode::kProtocol: return "protocol";
    case ErrorCode::kTls: return "tls";
    case ErrorCode::kIdentity: return "identity";
    case ErrorCode::kDenied: return "denied";
    case ErrorCode::kLimit: return "limit";
    case ErrorCode::kUnavailable: return "unavailable";
    case ErrorCode::kUnsupported: return "unsupported";
    case ErrorCode::kIo: return "io";
    case ErrorCode::kInternal: return "internal";
  }
  return "unknown";
}

bool out_of_resources(int os_error) {
  return os_error == EMFILE || os_error == ENFILE || os_error == ENOMEM || os_error == ENOBUFS;
}

std::string_view to_string(Side side) {
  switch (side) {
    case Side::kLocal: return "local";
    case Side::kDownstream: return "downstream";
    case Side::kUpstream: return "upstream";
  }
  return "unknown";
}

Error Error::from_errno(int os_error, std::string_view context) {
  std::string text(context);
  if (!text.empty()) text += ": ";
  text += std::generic_category().message(os_error);
  Error error(code_of(os_error), std::move(text));
  error.os_error_ = os_error;
  return error;
}

Error Error::within(std::string_view prefix) && {
  std::string text(prefix);
  text += ": ";
  text += context_;
  context_ = std::move(text);
  return std::move(*this);
}

}  // namespace weft
