#include "lib/admin/server.h"

#include "lib/admin/detail/connection.h"
#include "lib/async/scope.h"
#include "lib/base/log.h"

namespace weft::admin {
namespace {

Task<void> serve_client(ServerState& server, io::StreamPtr stream) {
  ++server.active;
  {
    Connection connection(server, std::move(stream));
    co_await connection.run();
  }
  --server.active;
  server.slot_free.set();
}

// False when stopped first.
Task<bool> have_slot(ServerState& server) {
  while (server.crowded()) {
    if (!server.idle.empty()) server.idle.pop_front().abort();
    server.slot_free.reset();
    auto woken = co_await server.slot_free.wait(server.stop);
    if (!woken) co_return false;
  }
  co_return true;
}

}  // namespace

Task<void> serve(Loop& loop, io::ListenerPtr listener, Handler handler, ServerOptions options, StopToken stop) {
  ServerState server(loop, std::move(handler), std::move(options), stop);
  Scope clients(loop);
  for (;;) {
    auto slot = co_await have_slot(server);
    if (!slot) break;
    auto accepted = co_await listener->accept(stop);
    if (!accepted) {
      if (!stop.stop_requested()) {
        WEFT_LOG(kError, "admin", "no longer accepting", {"server", server.options.name},
                 {"error", accepted.error().message()});
      }
      break;
    }
    clients.spawn(serve_client(server, std::move(accepted->stream)));
  }
  listener->close();
  co_await clients.join();
}

}  // namespace weft::admin
