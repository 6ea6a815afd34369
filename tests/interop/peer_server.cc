#include <cstdio>
#include <map>

#include "lib/asio/files.h"
#include "lib/asio/network.h"
#include "lib/async/scope.h"
#include "lib/grpc/server.h"
#include "lib/tls/stream.h"
#include "tests/interop/peer.h"

namespace weft::interop {
namespace {

using grpc::Code;
using grpc::ServerCall;
using grpc::Status;

constexpr Duration kDrain = std::chrono::seconds(30);

struct Peer {
  std::map<std::string, StopSource> connections;  // by the caller's address
  std::size_t accepted = 0;
  std::size_t silent = 0;  // calls of Silent that began
  std::size_t given_up = 0;
};

Status status_of(const Result<void>& written) { return written ? Status{} : grpc::from_error(written.error()); }

Task<Status> echo(ServerCall& call) {
  auto message = co_await call.read();
  if (!message) co_return grpc::from_error(message.error());
  if (!*message) co_return Status{Code::kInvalidArgument, "no message"};
  auto written = co_await call.write(std::move(**message));
  co_return status_of(written);
}

Task<Status> chat(ServerCall& call) {
  for (;;) {
    auto message = co_await call.read();
    if (!message) co_return grpc::from_error(message.error());
    if (!*message) co_return Status{};
    auto written = co_await call.write(std::move(**message));
    if (!written) co_return status_of(written);
  }
}

Task<Status> collect(ServerCall& call) {
  std::size_t count = 0, bytes = 0;
  for (;;) {
    auto message = co_await call.read();
    if (!message) co_return grpc::from_error(message.error());
    if (!*message) break;
    ++count;
    bytes += (*message)->size();
  }
  auto written = co_await call.write(std::to_string(count) + " " + std::to_string(bytes));
  co_return status_of(written);
}

Task<Status> spread(ServerCall& call) {
  auto message = co_await call.read();
  std::size_t count = 0, size = 0;
  if (!message || !*message || std::sscanf((*message)->c_str(), "%zu %zu", &count, &size) != 2) {
    co_return Status{Code::kInvalidArgument, "asked for what?"};
  }
  for (std::size_t i = 0; i < count; ++i) {
    auto written = co_await call.write(std::string(size, static_cast<char>('a' + i % 26)));
    if (!written) co_return status_of(written);
  }
  co_return Status{};
}

Task<Status> refuse(ServerCall&) { co_return Status{Code::kPermissionDenied, "not for you: 100% \xC3\xA9"}; }

Task<Status> fail_late(ServerCall& call) {
  auto written = co_await call.write("only this");
  co_return written ? Status{Code::kAborted, "enough"} : status_of(written);
}

Task<Status> silent(ServerCall& call, Peer& peer, StopToken stop) {
  ++peer.silent;
  StopCallback on_deadline(stop, [&peer] { ++peer.given_up; });
  for (;;) {
    auto message = co_await call.read();
    if (message && *message) continue;
    // The caller's last message is not its end: it still waits. A failed read is.
    if (!message && !stop.stop_requested()) ++peer.given_up;
    if (!message) co_return grpc::from_error(message.error());
    co_return Status{Code::kFailedPrecondition, "keep the call open by not ending your side"};
  }
}

Task<Status> go_away(ServerCall& call, Peer& peer) {
  auto written = co_await call.write("leaving");
  if (!written) co_return status_of(written);
  peer.connections.at(call.peer()).request_stop();
  auto status = co_await chat(call);
  co_return status;
}

Task<Status> numbers(ServerCall& call, Peer& peer) {
  auto text = "connections=" + std::to_string(peer.accepted) + " given_up=" + std::to_string(peer.given_up) +
              " silent=" + std::to_string(peer.silent);
  auto written = co_await call.write(std::move(text));
  co_return status_of(written);
}

void add_methods(grpc::Server& server, Peer& peer) {
  const std::string prefix = "/weft.test.Peer/";
  server.add(prefix + "Echo", [](ServerCall& call, StopToken) { return echo(call); });
  server.add(prefix + "Chat", [](ServerCall& call, StopToken) { return chat(call); });
  server.add(prefix + "Collect", [](ServerCall& call, StopToken) { return collect(call); });
  server.add(prefix + "Spread", [](ServerCall& call, StopToken) { return spread(call); });
  server.add(prefix + "Refuse", [](ServerCall& call, StopToken) { return refuse(call); });
  server.add(prefix + "FailLate", [](ServerCall& call, StopToken) { return fail_late(call); });
  server.add(prefix + "Silent", [&peer](ServerCall& call, StopToken stop) { return silent(call, peer, std::move(stop)); });
  server.add(prefix + "GoAway", [&peer](ServerCall& call, StopToken) { return go_away(call, peer); });
  server.add(prefix + "Numbers", [&peer](ServerCall& call, StopToken) { return numbers(call, peer); });
}

Result<std::shared_ptr<const tls::Context>> read_context(asio::Loop& loop, const TlsFiles& paths) {
  asio::KernelFiles files(loop);
  WEFT_TRY(auto chain_pem, files.read(paths.certificate, tls::kPemSizeMax));
  WEFT_TRY(auto key_pem, files.read(paths.key, tls::kPemSizeMax));
  WEFT_TRY(auto roots_pem, files.read(paths.roots, tls::kPemSizeMax));
  WEFT_TRY(auto chain, tls::parse_certificates(chain_pem));
  WEFT_TRY(auto key, tls::PrivateKey::from_pem(key_pem));
  WEFT_TRY(auto roots, tls::parse_certificates(roots_pem));
  WEFT_TRY(auto credentials, tls::Credentials::create(key, std::move(chain), std::move(roots), 1));
  return tls::Context::create(credentials);
}

Task<void> serve_one(asio::Loop& loop, grpc::Server& server, Peer& peer, io::Accepted accepted,
                     std::shared_ptr<const tls::Context> context, StopToken stop) {
  const std::string name = accepted.peer.to_string();
  io::StreamPtr stream = std::move(accepted.stream);
  if (context) {
    auto secured =
        co_await tls::accept(std::move(stream), std::move(context), {tls::AnyClient{}, loop.clock().wall()}, stop);
    if (!secured) co_return;
    stream = std::move(*secured);
  }
  StopSource& leaving = peer.connections[name];
  StopCallback on_stop(stop, [&leaving] { leaving.request_stop(); });
  auto ended = co_await server.serve(std::move(stream), leaving.token(), kDrain, name);
  (void)ended;
  peer.connections.erase(name);
}

}  // namespace

Task<int> serve(asio::Loop& loop, TlsFiles files, StopToken stop) {
  std::shared_ptr<const tls::Context> context;
  if (!files.certificate.empty()) {
    auto made = read_context(loop, files);
    if (!made) {
      std::fprintf(stderr, "%s\n", made.error().message().c_str());
      co_return 1;
    }
    context = std::move(*made);
  }
  asio::Networks networks(loop);
  auto network = networks.own();
  auto listener = network->listen(SocketAddress(IpAddress::loopback(false), 0), {});
  if (!listener) co_return 1;
  std::printf("port %u\n", (*listener)->address().port());
  std::fflush(stdout);

  Peer peer;
  grpc::Server server(loop, {});
  add_methods(server, peer);
  Scope scope(loop, stop);
  for (;;) {
    auto accepted = co_await (*listener)->accept(stop);
    if (!accepted) break;
    ++peer.accepted;
    scope.spawn(serve_one(loop, server, peer, std::move(*accepted), context, scope.token()));
  }
  co_await scope.join();
  co_return 0;
}

}  // namespace weft::interop
