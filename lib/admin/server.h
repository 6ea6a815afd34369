// A small HTTP/1.1 server for pages of numbers and switches: readiness, metrics, admin, the CNI plugin's door.
//
// Clear text, loopback or node-local. Slow or hostile clients are bounded in time, bytes and number; keep-alive and
// half-closed clients are served, and long answers are compressed for those that ask for it. Thread: the loop's.
#pragma once

#include <functional>
#include <string>

#include "lib/async/loop.h"
#include "lib/async/stop.h"
#include "lib/async/task.h"
#include "lib/io/network.h"
#include "lib/telemetry/metrics.h"

namespace weft::admin {

struct Request {
  std::string method;  // "GET"
  std::string path;    // without query, not decoded
  std::string query;   // without '?', not decoded
  std::string accept;  // the Accept field's value
  std::string body;
};

struct Response {
  int status = 200;
  std::string body;
  std::string content_type = "text/plain; charset=utf-8";  // not sent without a body
  std::string content_encoding = {};  // what `body` is in; empty: itself, and the server may compress it
};

// Answers one request. `stop` fires when the server stops; the answer is still sent, so a handler that waits for
// something long should then give one soon. HEAD requests arrive as such; the body of the answer is left out.
using Handler = std::function<Task<Response>(Request request, StopToken stop)>;

// Where serve() is awaited rather than spawned, made in a statement of its own before: GCC 12 destroys a braced temporary
// among the arguments of a co_await twice.
struct ServerOptions {
  std::string name;                  // for the log and the counter
  std::size_t head_max = 8 * 1024;   // request line and fields; 431 beyond
  std::size_t body_max = 64 * 1024;  // 413 beyond
  // Further clients wait in the backlog. When this many are connected the one idle for longest is closed, and answers
  // end their connections, so that nobody keeps the others out by holding connections open.
  std::size_t connections_max = 64;
  Duration head_timeout = std::chrono::seconds(2);       // for a request's head, from the first byte or the connect
  Duration idle_timeout = std::chrono::seconds(60);      // between requests
  Duration transfer_timeout = std::chrono::seconds(10);  // for a request's body, and for taking the answer
  // Counts refused and abandoned requests by `server` and `reason` (a status, or "timeout"). May be absent.
  telemetry::CounterFamily* refused = nullptr;
};

// Serves until `stop`: then no more requests are accepted, those under way are answered, and it returns.
Task<void> serve(Loop& loop, io::ListenerPtr listener, Handler handler, ServerOptions options, StopToken stop);

}  // namespace weft::admin
