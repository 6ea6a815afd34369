#include <catch2/catch_test_macros.hpp>
#include <optional>
#include <vector>

#include "lib/async/manual_loop.h"
#include "lib/async/scope.h"
#include "lib/http2/connection.h"
#include "lib/io/pipe.h"
#include "lib/io/pump.h"
#include "tests/support/read_all.h"

using namespace weft;
using namespace weft::http2;
using namespace std::chrono_literals;
using weft::testing::read_all;

namespace {

const Headers kConnect = {{":method", "CONNECT"}, {":authority", "10.0.0.1:80"}};
const Headers kOk = {{":status", "200"}};

Task<void> drive(std::shared_ptr<Connection> connection, StopToken stop, Result<void>& out) {
  out = co_await connection->run(stop);
}

Task<void> write_all(io::Stream& stream, std::string text, bool end, Result<void>& out) {
  out = co_await stream.write(BufferChain(Buffer::copy_of(text)));
  if (!out || !end) co_return;
  out = co_await stream.shutdown_write();
}

// `out` is there when the end was accepted.
Task<void> write_to_end(io::Stream& stream, std::string text, std::optional<Result<void>>& out) {
  Result<void> done;
  co_await write_all(stream, std::move(text), true, done);
  out = std::move(done);
}

struct Pair {
  explicit Pair(Settings client_settings = {}, Settings server_settings = {}) {
    auto [left, right] = io::make_pipe(loop, 1 << 20);
    client = Connection::create(loop, Role::kClient, client_settings, std::move(left));
    server = Connection::create(loop, Role::kServer, server_settings, std::move(right));
    server->on_request([this](http2::StreamPtr stream) { requests.push_back(std::move(stream)); });
    scope.spawn(drive(client, scope.token(), client_outcome));
    scope.spawn(drive(server, scope.token(), server_outcome));
  }
  ~Pair() {
    requests.clear();
    scope.request_stop();
    loop.run(scope.join());
  }
  // A tunnel that was accepted.
  http2::StreamPtr tunnel() {
    auto stream = client->open(kConnect, Stream::Body::kFollows);
    REQUIRE(stream);
    loop.run_until_idle();
    REQUIRE_FALSE(requests.empty());
    REQUIRE(requests.back()->respond(kOk, Stream::Body::kFollows));
    auto response = loop.run((*stream)->response({}));
    REQUIRE(response);
    CHECK(*find(*response, ":status") == "200");
    return std::move(*stream);
  }

  ManualLoop loop;
  Scope scope{loop};
  std::shared_ptr<Connection> client, server;
  std::vector<http2::StreamPtr> requests;
  Result<void> client_outcome, server_outcome;
};

std::string pattern(std::size_t size) {
  std::string text(size, 0);
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 2654435761u >> 13);
  return text;
}

}  // namespace

TEST_CASE("bytes pass both ways and each direction ends by itself") {
  Pair pair;
  auto stream = pair.tunnel();
  auto& peer = *pair.requests.back();
  CHECK(*find(peer.request(), ":authority") == "10.0.0.1:80");
  const auto forth = pattern(3'000'000);
  const auto back = pattern(700'000);
  Result<void> sent, answered;
  pair.scope.spawn(write_all(*stream, forth, true, sent));
  auto got = pair.loop.run(read_all(peer));
  REQUIRE(got);
  CHECK(*got == forth);
  pair.scope.spawn(write_all(peer, back, true, answered));
  auto reply = pair.loop.run(read_all(*stream));
  REQUIRE(reply);
  CHECK(*reply == back);
  CHECK(sent);
  CHECK(answered);
  CHECK(pair.server->unconsumed() == 0);
  CHECK(pair.client->unconsumed() == 0);
}

TEST_CASE("a reset reaches the other side as a reset, after what was sent before it") {
  Pair pair;
  auto stream = pair.tunnel();
  Result<void> sent;
  pair.scope.spawn(write_all(*stream, "partial", false, sent));
  pair.loop.run_until_idle();
  stream->abort(io::AbortReason::kReset);
  pair.loop.run_until_idle();
  auto before = pair.loop.run(pair.requests.back()->read(1000));
  REQUIRE(before);
  CHECK(before->to_string() == "partial");
  pair.requests.back()->consumed(before->size());
  auto got = pair.loop.run(read_all(*pair.requests.back()));
  REQUIRE_FALSE(got);
  CHECK(got.error().code() == ErrorCode::kReset);
  CHECK(got.error().message().find("10") != std::string::npos);  // CONNECT_ERROR
  CHECK(pair.server->unconsumed() == 0);
}

TEST_CASE("an answer that the server ended before it reset the stream is read to its end") {
  Pair pair;
  auto stream = pair.tunnel();
  Result<void> sent;
  pair.scope.spawn(write_all(*pair.requests.back(), "too much", true, sent));
  pair.loop.run_until_idle();
  pair.requests.back()->abort(io::AbortReason::kReset);
  pair.loop.run_until_idle();
  auto answer = pair.loop.run(read_all(*stream));
  REQUIRE(answer);
  CHECK(*answer == "too much");
  auto more = pair.loop.run(stream->write(BufferChain(Buffer::copy_of("x"))));
  REQUIRE_FALSE(more);
  CHECK(more.error().code() == ErrorCode::kReset);
}

TEST_CASE("dropping a stream before its end cancels it") {
  Pair pair;
  auto stream = pair.tunnel();
  stream.reset();
  auto got = pair.loop.run(read_all(*pair.requests.back()));
  REQUIRE_FALSE(got);
  CHECK(got.error().code() == ErrorCode::kReset);
}

TEST_CASE("a reader that stalls pauses its writer and keeps what is in flight within the window") {
  Settings small;
  small.stream_window = 128 * 1024;
  small.connection_window = 512 * 1024;
  Pair pair({}, small);
  auto stream = pair.tunnel();
  Result<void> sent = fail(ErrorCode::kInternal, "unfinished");
  pair.scope.spawn(write_all(*stream, pattern(1'000'000), true, sent));
  pair.loop.run_until_idle();
  CHECK_FALSE(sent);
  CHECK(pair.server->unconsumed() <= 128 * 1024);
  auto got = pair.loop.run(read_all(*pair.requests.back()));
  REQUIRE(got);
  CHECK(got->size() == 1'000'000);
  CHECK(sent);
}

TEST_CASE("readers that stall take from the others no more than their own windows") {
  Settings small;
  small.stream_window = 64 * 1024;
  small.connection_window = 256 * 1024;
  Pair pair({}, small);
  std::vector<http2::StreamPtr> stalled;
  std::vector<std::optional<Result<void>>> waiting(3);
  for (auto& sent : waiting) {
    stalled.push_back(pair.tunnel());
    pair.scope.spawn(write_to_end(*stalled.back(), pattern(100'000), sent));
  }
  pair.loop.run_until_idle();
  CHECK(pair.server->unconsumed() == 3 * small.stream_window);
  CHECK_FALSE(pair.client->window_used_up());

  // One window is left for all that moves, many times over.
  auto moving = pair.tunnel();
  std::optional<Result<void>> sent;
  pair.scope.spawn(write_to_end(*moving, pattern(1'000'000), sent));
  auto got = pair.loop.run(read_all(*pair.requests.back()));
  REQUIRE(got);
  CHECK(got->size() == 1'000'000);
  CHECK_FALSE(pair.client->window_used_up());
  CHECK_FALSE(pair.server->window_used_up());

  // A fourth takes the last of it; both ends can tell.
  stalled.push_back(pair.tunnel());
  std::optional<Result<void>> last;
  pair.scope.spawn(write_to_end(*stalled.back(), pattern(100'000), last));
  pair.loop.run_until_idle();
  CHECK(pair.client->window_used_up());
  CHECK(pair.server->window_used_up());
  auto taken = pair.loop.run(read_all(*pair.requests.back()));
  REQUIRE(taken);
  CHECK(taken->size() == 100'000);
  CHECK_FALSE(pair.client->window_used_up());
  CHECK_FALSE(pair.server->window_used_up());
  for (std::size_t i = 0; i < waiting.size(); ++i) {
    auto late = pair.loop.run(read_all(*pair.requests[i]));
    REQUIRE(late);
    CHECK(late->size() == 100'000);
    REQUIRE(waiting[i].has_value());
    CHECK(*waiting[i]);
  }
  CHECK(pair.server->unconsumed() == 0);
}

TEST_CASE("what waits for a window is told apart from what moves, and an end waits for what was written before it") {
  Settings small;
  small.stream_window = 16 * 1024;
  Pair pair(small);
  auto stream = pair.tunnel();
  auto& peer = *pair.requests.back();
  CHECK_FALSE(peer.backlog().waiting);
  std::optional<Result<void>> sent;
  pair.scope.spawn(write_to_end(peer, pattern(40'000), sent));
  pair.loop.run_until_idle();
  CHECK_FALSE(sent.has_value());
  CHECK(peer.backlog().waiting);
  CHECK(peer.backlog().moved == 16 * 1024);
  auto part = pair.loop.run(stream->read(10'000));
  REQUIRE(part);
  stream->consumed(part->size());
  pair.loop.run_until_idle();
  CHECK(peer.backlog().waiting);
  CHECK(peer.backlog().moved == 16 * 1024 + part->size());
  CHECK_FALSE(sent.has_value());
  auto rest = pair.loop.run(read_all(*stream));
  REQUIRE(rest);
  CHECK(part->to_string() + *rest == pattern(40'000));
  REQUIRE(sent.has_value());
  CHECK(*sent);
  CHECK_FALSE(peer.backlog().waiting);
  CHECK(peer.backlog().moved == 40'000);

  // Whoever waits so hears of a reset.
  auto other = pair.tunnel();
  std::optional<Result<void>> cut;
  pair.scope.spawn(write_to_end(*pair.requests.back(), pattern(40'000), cut));
  pair.loop.run_until_idle();
  CHECK_FALSE(cut.has_value());
  other->abort(io::AbortReason::kReset);
  pair.loop.run_until_idle();
  REQUIRE(cut.has_value());
  REQUIRE_FALSE(*cut);
  CHECK(cut->error().code() == ErrorCode::kReset);
  CHECK_FALSE(pair.requests.back()->backlog().waiting);
}

TEST_CASE("an end that waits behind bytes is lost with them: by a reset, or with the connection") {
  Settings small;
  small.stream_window = 16 * 1024;
  for (const bool reset : {true, false}) {
    INFO(reset);
    Pair pair(small);
    auto stream = pair.tunnel();
    auto& peer = *pair.requests.back();
    Result<void> asked;
    pair.scope.spawn(write_all(*stream, "question", true, asked));
    auto question = pair.loop.run(read_all(peer));
    REQUIRE(question);
    std::optional<Result<void>> answered;
    pair.scope.spawn(write_to_end(peer, pattern(40'000), answered));
    pair.loop.run_until_idle();
    CHECK_FALSE(answered.has_value());
    if (reset) {
      stream->abort(io::AbortReason::kReset);
    } else {
      pair.client->close();
    }
    pair.loop.run_until_idle();
    REQUIRE(answered.has_value());
    REQUIRE_FALSE(*answered);
    CHECK(answered->error().code() == ErrorCode::kReset);
  }
}

TEST_CASE("bytes of a stream that is dropped unread give their credit back exactly once") {
  Pair pair;
  for (int i = 0; i < 20; ++i) {
    auto stream = pair.tunnel();
    Result<void> sent;
    pair.scope.spawn(write_all(*stream, pattern(50'000), false, sent));
    pair.loop.run_until_idle();
    if (i % 2) {
      auto some = pair.loop.run(pair.requests.back()->read(10'000));
      REQUIRE(some);
      if (i % 4 == 1) pair.requests.back()->consumed(some->size());
    }
    pair.requests.pop_back();
    pair.loop.run_until_idle();
  }
  CHECK(pair.server->unconsumed() == 0);
}

TEST_CASE("a thousand streams one after the other and two hundred at once") {
  Pair pair;
  for (int i = 0; i < 1000; ++i) {
    auto stream = pair.client->open({{":method", "GET"}, {":scheme", "http"}, {":authority", "x"}, {":path", "/"}},
                                    Stream::Body::kNone);
    REQUIRE(stream);
    pair.loop.run_until_idle();
    REQUIRE(pair.requests.back()->respond({{":status", "404"}}, Stream::Body::kNone));
    auto response = pair.loop.run((*stream)->response({}));
    REQUIRE(response);
    pair.requests.pop_back();
  }
  std::vector<http2::StreamPtr> open;
  for (int i = 0; i < 200; ++i) open.push_back(pair.tunnel());
  CHECK(pair.client->capacity(1000) == 0);
  open.clear();
  pair.loop.run_until_idle();
  CHECK(pair.client->capacity(1000) == 200);
}

TEST_CASE("trailers arrive after the body") {
  Pair pair;
  auto stream = pair.tunnel();
  Result<void> sent;
  pair.loop.run(write_all(*pair.requests.back(), "body", false, sent));
  REQUIRE(pair.requests.back()->finish({{"grpc-status", "0"}}));
  auto got = pair.loop.run(read_all(*stream));
  REQUIRE(got);
  CHECK(*got == "body");
  REQUIRE(find(stream->trailers(), "grpc-status"));
}

TEST_CASE("an orderly shutdown lets open streams finish and takes no new ones") {
  Pair pair;
  auto stream = pair.tunnel();
  pair.server->shutdown();
  pair.loop.run_until_idle();
  CHECK(pair.client->ending());
  CHECK_FALSE(pair.client->open(kConnect, Stream::Body::kFollows));
  Result<void> sent, answered;
  pair.scope.spawn(write_all(*stream, "late", true, sent));
  auto got = pair.loop.run(read_all(*pair.requests.back()));
  REQUIRE(got);
  pair.loop.run(write_all(*pair.requests.back(), "fine", true, answered));
  auto reply = pair.loop.run(read_all(*stream));
  REQUIRE(reply);
  CHECK(*reply == "fine");
  stream.reset();
  pair.requests.clear();
  pair.loop.run(pair.scope.join());
  CHECK(pair.server_outcome);
}

TEST_CASE("a peer that does not answer pings loses its connection and every stream says so") {
  ManualLoop loop;
  Scope scope(loop);
  auto [left, right] = io::make_pipe(loop);
  auto client = Connection::create(loop, Role::kClient, {}, std::move(left));
  Result<void> outcome;
  scope.spawn(drive(client, scope.token(), outcome));
  auto stream = client->open(kConnect, Stream::Body::kFollows);
  REQUIRE(stream);
  loop.advance(31s);
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().code() == ErrorCode::kTimeout);
  auto got = loop.run((*stream)->response({}));
  CHECK_FALSE(got);
  loop.run(scope.join());
}

TEST_CASE("a server that does not speak HTTP/2 fails a request as that, at once, and the connection takes no more") {
  ManualLoop loop;
  Scope scope(loop);
  auto [left, right] = io::make_pipe(loop);
  auto client = Connection::create(loop, Role::kClient, {}, std::move(left));
  Result<void> outcome, sent;
  scope.spawn(drive(client, scope.token(), outcome));
  auto stream = client->open({{":method", "CONNECT"}, {":authority", "x:1"}}, Stream::Body::kFollows);
  REQUIRE(stream);
  loop.run(write_all(*right, "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n", false, sent));
  auto response = loop.run((*stream)->response({}));
  REQUIRE_FALSE(response);
  CHECK(response.error().code() == ErrorCode::kProtocol);
  CHECK(response.error().message().starts_with("h2 failed: "));
  CHECK_FALSE(client->open({{":method", "CONNECT"}, {":authority", "x:1"}}, Stream::Body::kFollows));
  loop.advance(1min);
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().code() == ErrorCode::kProtocol);
  loop.run(scope.join());
}

TEST_CASE("garbage, oversized headers and a lost transport end in errors, not in crashes") {
  ManualLoop loop;
  Scope scope(loop);
  auto [left, right] = io::make_pipe(loop);
  auto server = Connection::create(loop, Role::kServer, {}, std::move(left));
  Result<void> outcome, sent;
  scope.spawn(drive(server, scope.token(), outcome));
  loop.run(write_all(*right, "GET / HTTP/1.1\r\nhost: x\r\n\r\n", false, sent));
  loop.run_until_idle();
  CHECK_FALSE(outcome);
  loop.run(scope.join());

  Pair pair;
  auto stream = pair.client->open({{":method", "CONNECT"}, {":authority", "x:1"}, {"filler", std::string(20'000, '0')}},
                                  Stream::Body::kFollows);
  REQUIRE(stream);
  auto response = pair.loop.run((*stream)->response({}));
  CHECK_FALSE(response);
  CHECK(pair.requests.empty());
  auto next = pair.tunnel();  // the connection survives
  pair.client->close();
  auto got = pair.loop.run(read_all(*pair.requests.back()));
  CHECK_FALSE(got);
}
