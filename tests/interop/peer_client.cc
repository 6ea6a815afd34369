#include <cstdio>

#include "lib/asio/files.h"
#include "lib/asio/network.h"
#include "lib/asio/resolver.h"
#include "lib/grpc/channel.h"
#include "lib/grpc/dial.h"
#include "tests/interop/peer.h"

namespace weft::interop {
namespace {

using namespace std::chrono_literals;
using grpc::Channel;

constexpr std::size_t kLarge = 8u << 20;

std::string method(const char* name) { return std::string("/weft.test.Peer/") + name; }

void print(const grpc::Status& status) {
  std::printf("status %d %s\n", static_cast<int>(status.code), status.message.c_str());
}

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31 + i / 251);
  return text;
}

Task<void> unary(Channel& channel, const char* name, std::string message, grpc::CallOptions options = grpc::CallOptions()) {
  const std::string sent = message;
  auto reply = co_await channel.unary(method(name), std::move(message), std::move(options), {});
  print(reply.status);
  std::printf("message %zu %s\n", reply.message.size(), reply.message == sent ? "same" : "different");
}

// Reads to the end; what came and how it ended.
Task<void> read_rest(grpc::ClientCall& call) {
  std::size_t count = 0, bytes = 0;
  for (;;) {
    auto message = co_await call.read();
    if (!message) break;
    ++count;
    bytes += message->size();
  }
  std::printf("received %zu messages, %zu bytes\n", count, bytes);
  print(call.status());
}

Task<void> stream(Channel& channel, const char* name, std::string message, int count = 1) {
  auto call = co_await channel.start(method(name), grpc::CallOptions(), StopToken());
  if (!call) co_return print(grpc::from_error(call.error()));
  for (int i = 0; i < count; ++i) {
    auto written = co_await (*call)->write(message);
    if (!written) break;
  }
  (void)(*call)->finish_writing();
  co_await read_rest(**call);
}

Task<void> chat(Channel& channel, int rounds) {
  auto call = co_await channel.start(method("Chat"), grpc::CallOptions(), StopToken());
  if (!call) co_return print(grpc::from_error(call.error()));
  int same = 0;
  for (int i = 0; i < rounds; ++i) {
    const std::string text = pattern(static_cast<std::size_t>(i) * 997);
    auto written = co_await (*call)->write(text);
    if (!written) break;
    auto answer = co_await (*call)->read();
    same += answer && *answer == text ? 1 : 0;
  }
  std::printf("echoed %d\n", same);
  (void)(*call)->finish_writing();
  co_await read_rest(**call);
}

Task<void> cancel(Channel& channel) {
  auto call = co_await channel.start(method("Chat"), grpc::CallOptions(), StopToken());
  if (!call) co_return print(grpc::from_error(call.error()));
  auto written = co_await (*call)->write("hello");
  (void)written;
  auto answer = co_await (*call)->read();
  std::printf("echoed %d\n", answer && *answer == "hello" ? 1 : 0);
  (*call)->cancel();
  co_await read_rest(**call);
  // The connection goes on.
  co_await unary(channel, "Echo", "after");
}

// The peer says GOAWAY after its first message; the call goes on and the next one needs a new connection.
Task<void> go_away(Channel& channel) {
  auto call = co_await channel.start(method("GoAway"), grpc::CallOptions(), StopToken());
  if (!call) co_return print(grpc::from_error(call.error()));
  auto first = co_await (*call)->read();
  std::printf("first %s\n", first ? first->c_str() : "none");
  for (int i = 0; i < 3; ++i) {
    auto written = co_await (*call)->write("still here");
    if (!written) break;
    auto answer = co_await (*call)->read();
    if (!answer) break;
  }
  (void)(*call)->finish_writing();
  co_await read_rest(**call);
  co_await unary(channel, "Echo", "after");
}

Task<bool> run(Channel& channel, std::string scenario) {
  if (scenario == "unary") {
    co_await unary(channel, "Echo", "hello");
  } else if (scenario == "empty") {
    co_await unary(channel, "Echo", "");
  } else if (scenario == "large") {
    co_await unary(channel, "Echo", pattern(kLarge));
  } else if (scenario == "too-large") {
    co_await stream(channel, "Spread", "1 " + std::to_string(kLarge + 1));
  } else if (scenario == "collect") {
    co_await stream(channel, "Collect", pattern(10'000), 100);
  } else if (scenario == "spread") {
    co_await stream(channel, "Spread", "300 5000");
  } else if (scenario == "chat") {
    co_await chat(channel, 100);
  } else if (scenario == "refuse") {
    co_await unary(channel, "Refuse", "x");
  } else if (scenario == "unknown") {
    co_await unary(channel, "None", "x");
  } else if (scenario == "fail-late") {
    co_await stream(channel, "FailLate", "x");
  } else if (scenario == "deadline") {
    grpc::CallOptions brief;
    brief.deadline = 200ms;
    co_await unary(channel, "Silent", "x", brief);
  } else if (scenario == "cancel") {
    co_await cancel(channel);
  } else if (scenario == "go-away") {
    co_await go_away(channel);
  } else {
    co_return false;
  }
  co_return true;
}

}  // namespace

Task<int> call(asio::Loop& loop, TlsFiles files, std::string port, std::string scenario) {
  asio::Networks networks(loop);
  auto network = networks.own();
  asio::Resolver resolver(loop);
  asio::KernelFiles disk(loop);
  auto address = grpc::ServerAddress::parse((files.roots.empty() ? "http://127.0.0.1:" : "https://127.0.0.1:") + port);
  if (!address) co_return 64;
  Result<std::shared_ptr<const tls::Context>> context = fail(ErrorCode::kNotFound, "no roots");
  if (!files.roots.empty()) {
    auto pem = disk.read(files.roots, tls::kPemSizeMax);
    auto roots = tls::parse_certificates(pem ? *pem : "");
    if (!roots) co_return 64;
    context = tls::Context::for_client(*roots);
  }
  grpc::Dialer dialer(loop, *network, resolver, *address, [&context] { return context; });
  Channel channel(loop, [&dialer](StopToken stop) { return dialer.dial(std::move(stop)); },
                  {.authority = address->authority, .scheme = files.roots.empty() ? "http" : "https"});
  auto known = co_await run(channel, std::move(scenario));
  co_await channel.close();
  co_return known ? 0 : 64;
}

}  // namespace weft::interop
