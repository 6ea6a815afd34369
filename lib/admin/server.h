// A small HTTP/1.1 server for pages of numbers and switches: readiness, metrics, admin, the CNI plugin's door.
//
// Clear text, loopback or node-local. Slow or hostile clients are bounded in time, bytes and number; keep-alive and half-closed
// clients are served. Thread: the loop's.
#pragma once

#include <functional>
#include <string>

#include "lib/async/loop.h"
#include "lib/async/stop.h"
#include "lib/async/task.h"
#include "lib/io/network.h"

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
  std::string content_type = "text/plain; charset=utf-8";
};

using Handler = std::function<Task<Response>(Request request, StopToken stop)>;

struct ServerOptions {
  std::string name;                             // for the log
  std::size_t head_max = 8 * 1024;              // request line and fields; 431 beyond
  std::size_t body_max = 64 * 1024;             // 413 beyond
  std::size_t connections_max = 64;             // further clients wait in the backlog
  Duration head_timeout = std::chrono::seconds(2);
  Duration idle_timeout = std::chrono::seconds(60);
};

// Serves until `stop`: then no more requests are accepted, those under way are answered, and it returns.
Task<void> serve(Loop& loop, io::ListenerPtr listener, Handler handler, ServerOptions options, StopToken stop);

}  // namespace weft::admin
