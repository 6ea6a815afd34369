#include <catch2/catch_test_macros.hpp>

#include "lib/async/manual_loop.h"
#include "lib/async/scope.h"
#include "lib/io/pipe.h"
#include "lib/io/pump.h"

using namespace weft;
using namespace weft::io;

namespace {

Task<void> send_all(Stream& stream, std::string text, bool finish) {
  auto written = co_await stream.write(BufferChain(Buffer::copy_of(text)));
  (void)written;
  if (!finish) co_return;
  auto ended = co_await stream.shutdown_write();
  (void)ended;
}

Task<Result<std::string>> read_all(Stream& stream) {
  std::string all;
  for (;;) {
    auto data = co_await stream.read(1000);
    if (!data) co_return fail(std::move(data.error()));
    if (data->empty()) co_return std::move(all);
    all += data->to_string();
  }
}

Task<void> run_pump(Loop& loop, Stream& a, Stream& b, PumpCounters& counters, StopToken stop, PumpResult& out) {
  out = co_await pump(loop, a, b, counters, stop);
}

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
