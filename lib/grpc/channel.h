// A gRPC client: calls over one HTTP/2 connection that is made when needed and made anew when it was lost.
//
//   Channel channel(loop, connector, {.authority = "istiod.istio-system.svc"});
//   auto reply = co_await channel.unary("/package.Service/Method", request, {.deadline = 10s}, stop);
//   ...
//   co_await channel.close();
//
// Messages are serialized bytes; what encodes them is the caller's affair. Thread: the loop's.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "lib/async/scope.h"
#include "lib/async/semaphore.h"
#include "lib/grpc/message.h"
#include "lib/grpc/status.h"
#include "lib/http2/connection.h"

namespace weft::grpc {

struct CallOptions {
  std::optional<Duration> deadline;  // from the call's start, connecting included; sent as grpc-timeout
  http2::Headers metadata;           // lower-case names
};

// One call. Dropping it before its end resets the stream with CANCEL.
class ClientCall {
 public:
  ClientCall(Loop& loop, const CallOptions& options, std::size_t message_max, StopToken stop);
  ~ClientCall();

  // Sends a message; waits while the peer is slow. After an error read() tells the status.
  Task<Result<void>> write(std::string message);
  Result<void> finish_writing();
  // The next message, or none at the end of the call: then status() says how it went.
  Task<std::optional<std::string>> read();
  const Status& status() const { return status_; }
  // Gives the call up; it ends with kCancelled.
  void cancel();

 private:
  friend class Channel;
  void settle(Status status);
  Status explain(Error error) const;

  std::optional<Deadline> deadline_;
  StopToken stop_;
  http2::StreamPtr stream_;
  std::optional<StopCallback> on_stop_;
  MessageReader messages_;
  bool headers_seen_ = false;
  bool settled_ = false;
  Status status_;
};

struct Reply {
  Status status;
  std::string message;  // when ok
};

class Channel {
 public:
  // Makes a connected stream, TLS included; called again after each loss, one at a time.
  using Connector = std::function<Task<Result<io::StreamPtr>>(StopToken)>;
  struct Options {
    std::string authority;
    std::string scheme = "https";
    std::size_t message_max = kMessageMaxDefault;
    http2::Settings http2;
  };

  Channel(Loop& loop, Connector connector, Options options);
  ~Channel();

  // Starts a call. Fails with what the connector said; it is not tried again by itself.
  Task<Result<std::unique_ptr<ClientCall>>> start(std::string path, CallOptions options, StopToken stop);
  // One message each way.
  Task<Reply> unary(std::string path, std::string request, CallOptions options, StopToken stop);
  // Calls from now on use a new connection; those under way finish on theirs. For changed roots.
  void reconnect();
  // Ends the connection and waits for it. Must be awaited before destruction once a call was started.
  Task<void> close();

 private:
  Task<Result<std::shared_ptr<http2::Connection>>> connection(StopToken stop);
  Task<void> drive(std::shared_ptr<http2::Connection> connection);

  Loop& loop_;
  Connector connector_;
  Options options_;
  Semaphore connecting_;
  std::shared_ptr<http2::Connection> connection_;
  Scope scope_;
};

}  // namespace weft::grpc
