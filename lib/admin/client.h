// One HTTP/1.1 request over a connected stream, and its answer: the CNI plugin's side of its door, tools, tests.
//
// Thread: the stream's loop.
#pragma once

#include <string>

#include "lib/admin/server.h"
#include "lib/io/stream.h"

namespace weft::admin {

// Made in a statement of its own before the co_await: GCC 12 destroys a braced temporary among its arguments twice.
struct ClientRequest {
  std::string method = "GET";
  std::string target = "/";  // "/path?query", encoded
  std::string host = "localhost";
  std::string body;
  std::string content_type = "application/json";  // sent with a body only
};

// Sends the request and reads the whole answer; the connection ends with it. No time limit of its own: bound it with a
// Deadline's token. kCancelled when stopped; kClosed, kReset without a whole answer; kProtocol when it is malformed;
// kLimit when its head or a body beyond `body_max` is too large; kInvalidArgument when the request cannot be written.
Task<Result<Response>> exchange(io::StreamPtr stream, ClientRequest request, std::size_t body_max, StopToken stop);

}  // namespace weft::admin
