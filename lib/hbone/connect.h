// Opening a tunnel: CONNECT on an HTTP/2 connection.
#pragma once

#include <string>

#include "lib/async/stop.h"
#include "lib/async/task.h"
#include "lib/hbone/headers.h"
#include "lib/http2/connection.h"

namespace weft::hbone {

struct Tunnel {
  http2::StreamPtr stream;  // the tunnelled bytes; an io::Stream
  std::string baggage;      // of the response: who answered; empty when not sent
};

// Asks and waits for the answer; no time limit of its own. A status other than 200 fails with "http status: <code reason>"
// on the upstream side: kDenied for 401 and 403, kInvalidArgument for 400, kUnavailable for 5xx, kProtocol otherwise.
Task<Result<Tunnel>> connect(http2::Connection& connection, http2::Headers request, StopToken stop);

}  // namespace weft::hbone
