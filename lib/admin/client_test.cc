#include "lib/admin/client.h"

#include <catch2/catch_test_macros.hpp>

#include "lib/async/manual_loop.h"
#include "lib/async/scope.h"
#include "lib/io/pipe.h"

using namespace weft;
using namespace weft::admin;
using namespace std::chrono_literals;

namespace {

enum class Then { kFinish, kReset, kNothing };

// Reads whatever fits one read, then answers with fixed bytes.
Task<void> play_server(Loop& loop, io::StreamPtr stream, std::string reply, Then then, std::string& got, StopToken stop) {
  auto request = co_await stream->read(64 * 1024);
  if (!request) co_return;
  got = request->to_string();
  if (!reply.empty()) {
    auto written = co_await stream->write(BufferChain(Buffer::copy_of(reply)));
    CHECK(written);
  }
  if (then == Then::kFinish) {
    auto finished = co_await stream->shutdown_write();
    CHECK(finished);
  }
  if (then == Then::kNothing) {
    auto stopped = co_await sleep_for(loop, 1h, stop);
    (void)stopped;
  }
}

struct Exchange {
  std::string got;
  Result<Response> result = Response{};
};

Exchange run(const std::string& reply, Then then, ClientRequest request = {}, std::size_t body_max = 100) {
  ManualLoop loop;
  Scope scope(loop);
  Exchange out;
  auto [client, server] = io::make_pipe(loop);
  scope.spawn(play_server(loop, std::move(server), reply, then, out.got, scope.token()));
  Deadline deadline(loop, 5s, {});
  out.result = loop.run(exchange(std::move(client), std::move(request), body_max, deadline.token()));
  if (!out.result) out.result = fail(deadline.explain(std::move(out.result).error(), "request"));
  scope.request_stop();
  loop.run(scope.join());
  return out;
}

}  // namespace

TEST_CASE("the client sends a request with its body and reads the answer") {
  ClientRequest request{"POST", "/cmdadd?x=1", "unix", "{\"a\":1}"};
  auto out = run("HTTP/1.1 200 OK\r\nContent-Type: text/x\r\nContent-Length: 2\r\n\r\nok", Then::kNothing, request);
  CHECK(out.got ==
        "POST /cmdadd?x=1 HTTP/1.1\r\nhost: unix\r\nconnection: close\r\ncontent-type: application/json\r\n"
        "content-length: 7\r\n\r\n{\"a\":1}");
  REQUIRE(out.result);
  CHECK(out.result->status == 200);
  CHECK(out.result->body == "ok");
  CHECK(out.result->content_type == "text/x");
}

TEST_CASE("an answer that ends with the connection is whole") {
  auto out = run("HTTP/1.0 500 no\r\n\r\nall of it", Then::kFinish);
  REQUIRE(out.result);
  CHECK(out.result->status == 500);
  CHECK(out.result->body == "all of it");
  CHECK(out.got == "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
}

TEST_CASE("what is no answer is an error that says what happened") {
  const auto code = [](const Exchange& out) {
    REQUIRE(!out.result);
    return out.result.error().code();
  };
  CHECK(code(run("", Then::kFinish)) == ErrorCode::kClosed);
  CHECK(code(run("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal", Then::kFinish)) == ErrorCode::kClosed);
  CHECK(code(run("", Then::kReset)) == ErrorCode::kReset);
  CHECK(code(run("", Then::kNothing)) == ErrorCode::kTimeout);
  CHECK(code(run("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal", Then::kNothing)) == ErrorCode::kTimeout);
  CHECK(code(run("SSH-2.0-x\r\n", Then::kNothing)) == ErrorCode::kProtocol);
  CHECK(code(run("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", Then::kNothing)) == ErrorCode::kLimit);
  CHECK(code(run("HTTP/1.1 200 OK\r\n\r\n" + std::string(101, 'x'), Then::kNothing)) == ErrorCode::kLimit);
  CHECK(code(run("HTTP/1.1 200 OK\r\nX: " + std::string(9000, 'x'), Then::kNothing)) == ErrorCode::kLimit);
}

TEST_CASE("a request that would not be one line is not sent") {
  for (const auto& request : {ClientRequest{"GET", "/a b"}, ClientRequest{"GET", "/\r\nX: y"}, ClientRequest{"GET", ""},
                              ClientRequest{"GET", "/", "h\n"}, ClientRequest{"POST", "/", "h", "x", "a\r\nb: c"}}) {
    auto out = run("HTTP/1.1 204 x\r\n\r\n", Then::kFinish, request);
    REQUIRE(!out.result);
    CHECK(out.result.error().code() == ErrorCode::kInvalidArgument);
    CHECK(out.got.empty());
  }
}
