#include <catch2/catch_test_macros.hpp>

#include "lib/async/manual_loop.h"
#include "lib/grpc/channel.h"
#include "lib/grpc/server.h"
#include "lib/io/pipe.h"

using namespace weft;
using namespace weft::grpc;
using namespace std::chrono_literals;

namespace {

Task<Status> echo(ServerCall& call, StopToken) {
  for (;;) {
    auto message = co_await call.read();
    if (!message) co_return from_error(message.error());
    if (!*message) co_return Status{};
    auto written = co_await call.write("echo:" + **message);
    if (!written) co_return from_error(written.error());
  }
}

Task<Status> refuse(ServerCall&, StopToken) { co_return Status{Code::kPermissionDenied, "not for you: 100% \xC3\xA9"}; }

Task<Status> silent(ServerCall& call, StopToken) {
  auto first = co_await call.read();
  auto rest = co_await call.read();  // ends when the caller gives up
  (void)first;
  co_return rest ? Status{Code::kInternal, "the caller ended"} : from_error(rest.error());
}

Task<void> serve(Server& server, io::StreamPtr stream, StopToken stop) {
  auto ended = co_await server.serve(std::move(stream), stop);
  (void)ended;
}

struct World {
  World() {
    server.add("/t.S/Echo", echo);
    server.add("/t.S/Refuse", refuse);
    server.add("/t.S/Silent", silent);
  }
  ~World() {
    loop.run(channel.close());
    scope.request_stop();
    loop.run(scope.join());
  }
  static Task<Result<io::StreamPtr>> dial(World& world) {
    ++world.dials;
    if (world.refuse_dials) co_return fail(ErrorCode::kRefused, "nobody listens");
    auto [left, right] = io::make_pipe(world.loop, 1 << 20);
    if (world.dead_dials) left->abort(io::AbortReason::kReset);
    world.connection_stop = StopSource();
    world.scope.spawn(serve(world.server, std::move(right), world.connection_stop.token()));
    co_return std::move(left);
  }
  Reply unary(std::string path, std::string message, CallOptions options = {}) {
    return loop.run(channel.unary(std::move(path), std::move(message), std::move(options), {}));
  }

  ManualLoop loop;
  Scope scope{loop};
  Server server{loop, {.call_time_max = 1min}};
  StopSource connection_stop;
  bool refuse_dials = false;
  bool dead_dials = false;  // what is dialled has already ended
  int dials = 0;
  Channel channel{loop, [this](StopToken) { return dial(*this); }, {.authority = "test"}};
};

}  // namespace

TEST_CASE("a unary call carries eight megabytes each way, almost") {
  World world;
  auto reply = world.unary("/t.S/Echo", "hello");
  CHECK(reply.status.ok());
  CHECK(reply.message == "echo:hello");
  const std::string large((8u << 20) - 5, 'x');
  reply = world.unary("/t.S/Echo", large);
  CHECK(reply.status.ok());
  CHECK(reply.message == "echo:" + large);
  reply = world.unary("/t.S/Echo", std::string((8u << 20) + 1, 'x'));
  CHECK(reply.status.code == Code::kResourceExhausted);
  CHECK(world.dials == 1);
}

TEST_CASE("an error without a message arrives with its text intact") {
  World world;
  auto reply = world.unary("/t.S/Refuse", "x");
  CHECK(reply.status.code == Code::kPermissionDenied);
  CHECK(reply.status.message == "not for you: 100% \xC3\xA9");
  CHECK(world.unary("/t.S/None", "x").status.code == Code::kUnimplemented);
}

TEST_CASE("messages stream both ways before either side ends") {
  World world;
  auto started = world.loop.run(world.channel.start("/t.S/Echo", {}, {}));
  REQUIRE(started);
  auto& call = **started;
  for (int i = 0; i < 50; ++i) {
    REQUIRE(world.loop.run(call.write(std::to_string(i))));
    auto message = world.loop.run(call.read());
    REQUIRE(message);
    CHECK(*message == "echo:" + std::to_string(i));
  }
  REQUIRE(call.finish_writing());
  CHECK_FALSE(world.loop.run(call.read()));
  CHECK(call.status().ok());
}

TEST_CASE("a deadline and a stop end a call that never answers") {
  World world;
  auto reply = world.unary("/t.S/Silent", "x", {.deadline = 3s, .metadata = {}});
  // The service sees the end of the request at once; hold the call open instead.
  CHECK(reply.status.code == Code::kInternal);
  auto started = world.loop.run(world.channel.start("/t.S/Silent", {.deadline = 3s, .metadata = {}}, {}));
  REQUIRE(started);
  CHECK_FALSE(world.loop.run((*started)->read()));
  CHECK((*started)->status().code == Code::kDeadlineExceeded);
  StopSource stop;
  auto other = world.loop.run(world.channel.start("/t.S/Silent", {}, stop.token()));
  REQUIRE(other);
  stop.request_stop();
  CHECK_FALSE(world.loop.run((*other)->read()));
  CHECK((*other)->status().code == Code::kCancelled);
}

TEST_CASE("a server ends a call that takes too long, whatever its caller asked for") {
  World world;
  auto started = world.loop.run(world.channel.start("/t.S/Silent", {}, {}));
  REQUIRE(started);
  CHECK_FALSE(world.loop.run((*started)->read()));
  CHECK((*started)->status().code == Code::kDeadlineExceeded);
  CHECK((*started)->status().message == "the call's deadline passed");
  CHECK(world.unary("/t.S/Echo", "next").message == "echo:next");
  CHECK(world.dials == 1);
}

TEST_CASE("a lost connection is unavailable for its calls and made anew for the next") {
  World world;
  auto started = world.loop.run(world.channel.start("/t.S/Silent", {}, {}));
  REQUIRE(started);
  world.loop.run_until_idle();
  world.connection_stop.request_stop();
  CHECK_FALSE(world.loop.run((*started)->read()));
  CHECK((*started)->status().code == Code::kUnavailable);
  world.refuse_dials = true;
  CHECK(world.unary("/t.S/Echo", "a").status.code == Code::kUnavailable);
  world.refuse_dials = false;
  CHECK(world.unary("/t.S/Echo", "b").message == "echo:b");
}

TEST_CASE("a connection that ends with its first write fails its call and is made anew for the next") {
  World world;
  world.dead_dials = true;
  CHECK(world.unary("/t.S/Echo", "a").status.code == Code::kUnavailable);
  world.dead_dials = false;
  CHECK(world.unary("/t.S/Echo", "b").message == "echo:b");
}

TEST_CASE("messages are cut where their prefix says, wherever frames were split") {
  MessageReader reader(1000);
  const auto bytes = frame_message("first").to_string() + frame_message("").to_string() + frame_message("third").to_string();
  std::vector<std::string> seen;
  for (const char c : bytes) {
    reader.append(BufferChain(Buffer::copy_of(std::string_view(&c, 1))));
    for (;;) {
      auto message = reader.next();
      REQUIRE(message);
      if (!*message) break;
      seen.push_back(**message);
    }
  }
  CHECK(seen == std::vector<std::string>{"first", "", "third"});
  CHECK(reader.at_boundary());
  reader.append(BufferChain(Buffer::copy_of(std::string_view("\x01\0\0\0\1", 5))));
  CHECK(reader.next().error().code() == ErrorCode::kUnsupported);
}

TEST_CASE("timeouts and texts keep their meaning on the wire") {
  CHECK(format_timeout(3s) == "3000000u");
  CHECK(format_timeout(1000s) == "1000000m");
  CHECK(*parse_timeout("10S") == 10s);
  CHECK(*parse_timeout("99999999n") == 99'999'999ns);
  for (const auto* bad : {"", "S", "1", "1x", "-1S", "123456789S", "1 S"}) CHECK_FALSE(parse_timeout(bad));
  CHECK(percent_decode(percent_encode("a%\n\xff z")) == "a%\n\xff z");
  CHECK(percent_decode("%zz%4") == "%zz%4");
}
