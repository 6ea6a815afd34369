// A gRPC server: methods by path, each call a coroutine that reads messages, writes messages and returns a status.
//
// Thread: the loop's. The server outlives every serve() task.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "lib/grpc/message.h"
#include "lib/grpc/status.h"
#include "lib/http2/connection.h"

namespace weft::grpc {

class ServerCall {
 public:
  ServerCall(http2::StreamPtr stream, std::size_t message_max, const std::string& peer);

  // The request's header fields.
  const http2::Headers& metadata() const { return stream_->request(); }
  // Who is connected, as given to serve().
  const std::string& peer() const { return peer_; }
  // The next message; none when the caller has sent its last.
  Task<Result<std::optional<std::string>>> read();
  // Sends a message; waits while the caller is slow.
  Task<Result<void>> write(std::string message);

 private:
  friend class Server;
  http2::StreamPtr stream_;
  MessageReader messages_;
  const std::string& peer_;
  void finish(const Status& status);
  void on_stop(bool deadline_passed);

  bool answered_ = false;
  bool writing_ = false;
  bool finished_ = false;
};

class Server {
 public:
  // `stop` fires when the call's deadline passes or the connection ends. The call outlives the task.
  using Method = std::function<Task<Status>(ServerCall& call, StopToken stop)>;

  struct Options {
    std::size_t message_max = kMessageMaxDefault;
    // No call takes longer, whatever deadline its caller sent. None: streams that stay open.
    std::optional<Duration> call_time_max;
    http2::Settings http2;
  };
  Server(Loop& loop, Options options) : loop_(loop), options_(std::move(options)) {}

  // `path`: "/package.Service/Method". Before the first serve().
  void add(std::string path, Method method) { methods_[std::move(path)] = std::move(method); }

  // Serves one connection to its end. A stop lets calls under way finish for `drain`, then cuts them. `peer` names the other
  // side for the methods.
  Task<Result<void>> serve(io::StreamPtr transport, StopToken stop, Duration drain = {}, std::string peer = {});

 private:
  Task<void> answer(http2::StreamPtr stream, const std::string& peer, StopToken stop);

  Loop& loop_;
  Options options_;
  std::map<std::string, Method, std::less<>> methods_;
};

}  // namespace weft::grpc
