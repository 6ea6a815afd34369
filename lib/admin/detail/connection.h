// One client of the admin server: its requests, one after the other.
#pragma once

#include <string>

#include "lib/admin/message_parser.h"
#include "lib/admin/server.h"
#include "lib/async/event.h"

namespace weft::admin {

class Connection;

// What the connections of one server share. Outlives them.
struct ServerState {
  ServerState(Loop& loop, Handler handler, ServerOptions options, StopToken stop)
      : loop(loop), handler(std::move(handler)), options(std::move(options)), stop(std::move(stop)), slot_free(loop) {}

  bool crowded() const { return active >= options.connections_max; }
  // A request that got no proper answer; `reason` is a label value.
  void refused(std::string_view reason, std::string_view detail);

  Loop& loop;
  Handler handler;
  ServerOptions options;
  StopToken stop;
  std::size_t active = 0;
  Event slot_free;
  IntrusiveList<Connection> idle;  // between requests, longest first
};

class Connection final : public ListLink {
 public:
  Connection(ServerState& server, io::StreamPtr stream);
  // Until the client or the server ends it.
  Task<void> run();
  void abort() { stream_->abort(io::AbortReason::kCancel); }

 private:
  // What the connection waits for.
  enum class Phase { kIdle, kHead, kBody, kHandler, kAnswer, kLinger };

  void enter(Phase phase);
  void on_timeout();
  void on_stop();
  Task<bool> read_request(MessageParser& parser);
  Task<bool> receive();
  Task<bool> answer(MessageParser& parser);
  Task<void> compress_for(const MessageHead& head, Response& response);
  Task<bool> send(const Response& response, bool head_only, bool keep);
  Task<void> refuse(int status, std::string_view reason);

  ServerState& server_;
  io::StreamPtr stream_;
  BufferChain input_;  // received and not yet parsed
  Phase phase_ = Phase::kHead;
  Timer timer_;
  StopCallback on_stop_;
};

}  // namespace weft::admin
