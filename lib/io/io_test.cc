#include <catch2/catch_test_macros.hpp>

#include "lib/async/event.h"
#include "lib/async/manual_loop.h"
#include "lib/async/scope.h"
#include "lib/io/pipe.h"
#include "lib/io/pump.h"
#include "tests/support/read_all.h"

using namespace weft;
using namespace weft::io;
using weft::testing::read_all;

namespace {

Task<void> send_all(Stream& stream, std::string text, bool finish) {
  auto written = co_await stream.write(BufferChain(Buffer::copy_of(text)));
  (void)written;
  if (!finish) co_return;
  auto ended = co_await stream.shutdown_write();
  (void)ended;
}

Task<void> run_pump(Loop& loop, Stream& a, Stream& b, PumpCounters& counters, StopToken stop, PumpResult& out) {
  out = co_await pump(loop, a, b, counters, stop);
}

// A stream whose calls fail as a socket's do that the kernel has no memory for.
class Failing final : public Stream {
 public:
  Failing(StreamPtr below, bool reading) : below_(std::move(below)), reading_(reading) {}
  Task<Result<BufferChain>> read(std::size_t max) override {
    if (reading_) co_return fail(ErrorCode::kLimit, "No buffer space available");
    auto data = co_await below_->read(max);
    co_return data;
  }
  Task<Result<void>> write(BufferChain) override { co_return fail(ErrorCode::kLimit, "No buffer space available"); }
  Task<Result<void>> shutdown_write() override { return below_->shutdown_write(); }
  void abort(AbortReason reason) override { below_->abort(reason); }

 private:
  StreamPtr below_;
  bool reading_;
};

// A socket whose peer answered and reset: the kernel tells the writer first, and keeps the answer for the reader.
class Answered final : public Stream {
 public:
  Answered(Loop& loop, bool ends) : loop_(loop), ends_(ends), told_(loop) {}
  Task<Result<BufferChain>> read(std::size_t) override {
    auto told = co_await told_.wait();
    (void)told;
    if (aborted) co_return fail(ErrorCode::kCancelled, "aborted");
    if (left_ == 0 && ends_) co_return BufferChain();
    if (left_ == 0) co_return fail(ErrorCode::kReset, "connection reset by peer");
    --left_;
    co_return BufferChain(Buffer::copy_of("no "));
  }
  Task<Result<void>> write(BufferChain) override {
    loop_.post([this] { told_.set(); });
    co_return fail(ErrorCode::kReset, "connection reset by peer");
  }
  Task<Result<void>> shutdown_write() override { co_return Result<void>{}; }
  void abort(AbortReason) override {
    aborted = true;
    told_.set();
  }
  bool aborted = false;

 private:
  Loop& loop_;
  const bool ends_;
  int left_ = 3;
  Event told_;
};

struct Rig {
  ManualLoop loop;
  std::pair<StreamPtr, StreamPtr> client = make_pipe(loop);
  std::pair<StreamPtr, StreamPtr> server = make_pipe(loop);
  PumpCounters counters;
  PumpResult result;
  Scope scope{loop};
  Rig() { scope.spawn(run_pump(loop, *client.second, *server.second, counters, scope.token(), result)); }
  ~Rig() {
    scope.request_stop();
    loop.run(scope.join());
  }
};

}  // namespace

TEST_CASE("each direction ends by itself and is counted") {
  Rig rig;
  rig.scope.spawn(send_all(*rig.client.first, "question", true));
  auto question = rig.loop.run(read_all(*rig.server.first));
  REQUIRE(question);
  CHECK(*question == "question");
  CHECK(rig.scope.running() == 1);  // the half-closed connection goes on
  rig.scope.spawn(send_all(*rig.server.first, "long answer", true));
  auto answer = rig.loop.run(read_all(*rig.client.first));
  REQUIRE(answer);
  CHECK(*answer == "long answer");
  rig.loop.run(rig.scope.join());
  CHECK(rig.result.outcome);
  CHECK_FALSE(rig.result.reset);
  CHECK(rig.counters.a_to_b == 8);
  CHECK(rig.counters.b_to_a == 11);
}

TEST_CASE("a reset on one side is a reset on the other, never an end of stream") {
  Rig rig;
  rig.client.first->abort(AbortReason::kReset);
  auto seen = rig.loop.run(read_all(*rig.server.first));
  REQUIRE_FALSE(seen);
  CHECK(seen.error().code() == ErrorCode::kReset);
  rig.loop.run(rig.scope.join());
  CHECK(rig.result.reset);
  CHECK(rig.result.outcome);
}

TEST_CASE("any other error of one side is a reset for the other, never an end of stream") {
  for (const bool reading : {true, false}) {
    ManualLoop loop;
    auto client = make_pipe(loop), server = make_pipe(loop);
    Failing broken(std::move(server.second), reading);
    PumpCounters counters;
    PumpResult result;
    Scope scope(loop);
    scope.spawn(run_pump(loop, *client.second, broken, counters, scope.token(), result));
    scope.spawn(send_all(*client.first, "half of it", false));
    auto seen = loop.run(read_all(*client.first));
    REQUIRE_FALSE(seen);
    CHECK(seen.error().code() == ErrorCode::kReset);
    client.first->abort(AbortReason::kReset);
    loop.run(scope.join());
    REQUIRE_FALSE(result.outcome);
    CHECK(result.outcome.error().code() == ErrorCode::kLimit);
  }
}

TEST_CASE("what a side said before it took no more is delivered, then the other side is reset") {
  for (const bool ends : {false, true}) {
    ManualLoop loop;
    auto client = make_pipe(loop);
    Answered server(loop, ends);
    PumpCounters counters;
    PumpResult result;
    Scope scope(loop);
    scope.spawn(run_pump(loop, *client.second, server, counters, scope.token(), result));
    scope.spawn(send_all(*client.first, "upload", false));
    loop.run(scope.join());
    CHECK(counters.b_to_a == 9);
    CHECK(counters.a_to_b == 0);
    CHECK(result.reset);
    CHECK(result.outcome);
    CHECK(server.aborted);
    auto written = loop.run(client.first->write(BufferChain(Buffer::copy_of("more"))));
    REQUIRE_FALSE(written);
    CHECK(written.error().code() == ErrorCode::kReset);
  }
}

TEST_CASE("a direction that fails after the other one ended resets both sides all the same") {
  ManualLoop loop;
  auto client = make_pipe(loop), server = make_pipe(loop);
  Failing broken(std::move(server.second), false);
  PumpCounters counters;
  PumpResult result;
  Scope scope(loop);
  scope.spawn(run_pump(loop, *client.second, broken, counters, scope.token(), result));
  scope.spawn(send_all(*server.first, "answer", true));
  auto answer = loop.run(read_all(*client.first));
  REQUIRE(answer);
  scope.spawn(send_all(*client.first, "never delivered", false));
  loop.run(scope.join());
  auto seen = loop.run(read_all(*server.first));
  REQUIRE_FALSE(seen);
  CHECK(seen.error().code() == ErrorCode::kReset);
}

TEST_CASE("a stop request gives both sides up") {
  Rig rig;
  rig.scope.spawn(send_all(*rig.client.first, "x", false));
  rig.loop.run_until_idle();
  rig.scope.request_stop();
  rig.loop.run(rig.scope.join());
  REQUIRE_FALSE(rig.result.outcome);
  CHECK(rig.result.outcome.error().code() == ErrorCode::kCancelled);
  CHECK(rig.counters.a_to_b == 1);
}
