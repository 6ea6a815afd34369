#include "lib/asio/unix_socket.h"

#include <sys/socket.h>

#include "lib/asio/detail/socket_listener.h"
#include "lib/asio/detail/unix_path.h"
#include "lib/asio/stream.h"

namespace weft::asio {
namespace {

// Removes the socket file with the listener.
class UnixListener final : public io::Listener {
 public:
  UnixListener(io::ListenerPtr inner, SocketFile file) : inner_(std::move(inner)), file_(std::move(file)) {}
  ~UnixListener() override { close(); }
  Task<Result<io::Accepted>> accept(StopToken stop) override { return inner_->accept(std::move(stop)); }
  void close() override {
    file_.remove();
    inner_->close();
  }
  void yield_port() override {}
  void finish() override {
    file_.remove();
    inner_->finish();
  }
  SocketAddress address() const override { return {}; }
  Result<void> set_transparent() override { return fail(ErrorCode::kUnsupported, "a Unix socket has no IP options"); }

 private:
  io::ListenerPtr inner_;
  SocketFile file_;
};

}  // namespace

Result<io::ListenerPtr> listen_unix(Loop& loop, const std::string& path, unsigned mode) {
  WEFT_TRY(auto socket, listen_at(path, SOCK_STREAM, mode));
  auto inner = make_listener(loop, std::move(socket.fd), SocketKind::kUnix, {});
  return std::make_unique<UnixListener>(std::move(inner), std::move(socket.file));
}

Task<Result<io::StreamPtr>> connect_unix(Loop& loop, std::string path, StopToken stop) {
  if (stop.stop_requested()) co_return fail(ErrorCode::kCancelled, "connect " + path + ": cancelled");
  auto fd = connect_to(path, SOCK_STREAM);
  if (!fd) co_return fail(std::move(fd).error());
  co_return make_stream(loop, std::move(*fd));
}

}  // namespace weft::asio
