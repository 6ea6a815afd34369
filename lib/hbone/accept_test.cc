// The server's side, against peers that do what no library would.
#include "lib/hbone/accept.h"

#include <catch2/catch_test_macros.hpp>

#include "lib/async/manual_loop.h"
#include "lib/async/scope.h"
#include "lib/hbone/test_tunnels.h"
#include "lib/io/pipe.h"
#include "tests/support/h2_frames.h"

using namespace weft;
using namespace weft::hbone;
using weft::testing::read_all;

namespace {

// A tunnel whose application takes nothing.
Task<void> stalled_tunnel(IncomingTunnel tunnel, Event& application) {
  auto stream = tunnel.accept("");
  auto taken = co_await application.wait();
  (void)stream;
  (void)taken;
}

Task<void> serve_stalled(Loop& loop, io::StreamPtr transport, Event& application, std::vector<Served>& ends, bool& over) {
  http2::Settings settings;
  TunnelHandler handler = [&application](IncomingTunnel tunnel, StopToken) {
    return stalled_tunnel(std::move(tunnel), application);
  };
  OnNoTunnel note;
  OnEnd on_end = [&ends](const Served& served) { ends.push_back(served); };
  StopToken never;
  co_await serve(loop, settings, std::move(transport), std::move(handler), never, never, std::move(note), std::move(on_end));
  over = true;
}

Task<void> serve_echo(Loop& loop, io::StreamPtr transport, std::vector<std::string>& problems, StopToken stop) {
  OnNoTunnel note = [&problems](std::string_view problem) { problems.emplace_back(problem); };
  TunnelHandler handler = hbone::testing::echo_tunnel;
  StopToken never;
  co_await serve(loop, {}, std::move(transport), std::move(handler), never, stop, std::move(note));
}

// A tunnel server and a peer that does what no library would, frame by frame.
struct RawPeer {
  RawPeer() {
    auto [left, right] = io::make_pipe(loop);
    stream = std::move(left);
    scope.spawn(serve_echo(loop, std::move(right), problems, scope.token()));
    scope.spawn(listen(*stream, heard));
    send(h2raw::hello());
  }
  ~RawPeer() {
    scope.request_stop();
    stream->abort(io::AbortReason::kCancel);
    loop.run(scope.join());
  }
  static Task<void> listen(io::Stream& stream, std::string& heard) {
    for (;;) {
      auto data = co_await stream.read(64 * 1024);
      if (!data || data->empty()) co_return;
      heard += data->to_string();
    }
  }
  void send(const std::string& bytes) {
    REQUIRE(loop.run(stream->write(BufferChain(Buffer::copy_of(bytes)))));
    loop.run_until_idle();
  }
  std::vector<h2raw::Frame> frames(std::uint32_t id) const {
    auto found = h2raw::parse(heard);
    std::erase_if(found, [id](const auto& frame) { return frame.stream != id; });
    return found;
  }

  ManualLoop loop;
  std::vector<std::string> problems;
  std::string heard;
  io::StreamPtr stream;
  Scope scope{loop};
};

}  // namespace

TEST_CASE("a CONNECT for another protocol gets no tunnel, nothing is dialled for it and the connection goes on") {
  const std::string protocol = h2raw::literal(":protocol", "websocket");
  const std::string path = h2raw::literal(":scheme", "https") + h2raw::literal(":path", "/");
  const std::string blocks[] = {
      h2raw::connect_block("greeting:1") + protocol + path,  // RFC 8441, section 4
      h2raw::connect_block("greeting:1") + protocol,
      protocol + h2raw::connect_block("greeting:1"),
  };
  RawPeer peer;
  std::uint32_t id = 1;
  for (const auto& block : blocks) {
    peer.send(h2raw::frame(h2raw::kHeaders, h2raw::kEndHeaders, id, block));
    const auto frames = peer.frames(id);
    REQUIRE(frames.size() == 1);
    CHECK(frames[0].type == h2raw::kRstStream);
    CHECK(frames[0].error() == static_cast<std::uint32_t>(http2::ResetCode::kProtocolError));
    id += 2;
  }
  peer.send(h2raw::connect(id, "greeting:1"));
  const auto frames = peer.frames(id);
  REQUIRE(frames.size() == 2);
  CHECK(frames[0].type == h2raw::kHeaders);
  CHECK(frames[1].payload == "welcome");
  CHECK(peer.problems.empty());
}

TEST_CASE("trailers behind a CONNECT end its direction and reach nobody, a second request on its stream ends it") {
  // RFC 9113 §8.5 calls for a reset; taken as the end that they are, they do no more than END_STREAM does.
  RawPeer peer;
  const std::string bytes = h2raw::frame(h2raw::kData, 0, 1, "bytes");
  peer.send(h2raw::connect(1) + bytes +
            h2raw::frame(h2raw::kHeaders, h2raw::kEndHeaders | h2raw::kEndStream, 1, h2raw::literal("x", "y")));
  auto frames = peer.frames(1);
  REQUIRE(frames.size() >= 2);
  CHECK(frames[1].payload == "10.0.0.2:8080:bytes");  // the application has seen the end
  CHECK(frames.back().flags == h2raw::kEndStream);

  // Fields that are a request's, and fields without the end of the stream, are neither trailers nor anything else.
  std::uint32_t id = 3;
  for (const auto& more : {h2raw::connect_block(), h2raw::literal("x", "y")}) {
    const auto flags = static_cast<std::uint8_t>(h2raw::kEndHeaders | (id == 3 ? h2raw::kEndStream : 0));
    peer.send(h2raw::connect(id) + h2raw::frame(h2raw::kHeaders, flags, id, more));
    frames = peer.frames(id);
    REQUIRE_FALSE(frames.empty());
    CHECK(frames.back().type == h2raw::kRstStream);
    CHECK(frames.back().error() == static_cast<std::uint32_t>(http2::ResetCode::kProtocolError));
    id += 2;
  }
}

TEST_CASE("what a peer's connection came to is told at once, also while a tunnel of it waits for its application") {
  ManualLoop loop;
  Event application(loop);
  std::vector<Served> ends;
  bool over = false;
  auto [left, right] = io::make_pipe(loop);
  Scope scope(loop);
  scope.spawn(serve_stalled(loop, std::move(right), application, ends, over));
  REQUIRE(loop.run(left->write(BufferChain(Buffer::copy_of(h2raw::hello() + h2raw::connect(1))))));
  loop.run_until_idle();
  std::string flood;
  for (int i = 0; i < 2000; ++i) flood += h2raw::ping();
  auto written = loop.run(left->write(BufferChain(Buffer::copy_of(flood))));
  auto answers = loop.run(read_all(*left));
  (void)written;  // either may be cut under way
  (void)answers;
  left.reset();  // it has heard why, and leaves
  loop.run_until_idle();
  REQUIRE(ends.size() == 1);
  CHECK(ends[0].breach == http2::Breach::kControlFrames);
  CHECK_FALSE(over);
  application.set();
  loop.run(scope.join());
  CHECK(over);
  CHECK(ends.size() == 1);
}
