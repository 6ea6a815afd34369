#include "lib/admin/readiness.h"

#include <catch2/catch_test_macros.hpp>
#include <optional>

#include "lib/async/manual_loop.h"

using namespace weft;
using namespace weft::admin;

namespace {

Response ask(const Readiness& readiness, const std::string& method = "GET", const std::string& path = "/healthz/ready") {
  Request request;
  request.method = method;
  request.path = path;
  return readiness.answer(request);
}

}  // namespace

TEST_CASE("a process is ready when every task is done, and says which are not") {
  ManualClock clock;
  Readiness readiness(clock, clock.monotonic());
  CHECK(ask(readiness).status == 200);
  CHECK(ask(readiness).body == "ready\n");
  CHECK(ask(readiness).content_type == "text/plain");
  auto state = readiness.begin("state manager");
  {
    auto proxy = readiness.begin("proxy");
    auto pods = readiness.begin("workload proxy manager");
    CHECK(ask(readiness).status == 500);
    CHECK(ask(readiness).body == "not ready, pending: proxy, state manager, workload proxy manager\n");
    pods.release();
    pods.release();
    CHECK(ask(readiness).body == "not ready, pending: proxy, state manager\n");
  }
  CHECK(ask(readiness).body == "not ready, pending: state manager\n");
  state.release();
  CHECK(ask(readiness).status == 200);
}

TEST_CASE("a task that begins again makes the process wait again, without a moment between") {
  ManualClock clock;
  Readiness readiness(clock, clock.monotonic());
  auto ticket = readiness.begin("zds");
  ticket = readiness.begin("zds");
  CHECK(readiness.pending() == std::vector<std::string>{"zds"});
  ticket = {};
  CHECK(readiness.ready());
  ticket = readiness.begin("zds");
  CHECK(!readiness.ready());
  auto moved = std::move(ticket);
  ticket.release();
  CHECK(!readiness.ready());
  moved.leave_pending();
  moved.release();
  CHECK(!readiness.ready());
}

TEST_CASE("only GET of the one path is answered with the state") {
  ManualClock clock;
  Readiness readiness(clock, clock.monotonic());
  for (const char* method : {"POST", "HEAD", "get"}) {
    CHECK(ask(readiness, method).status == 405);
    CHECK(ask(readiness, method).body.empty());
  }
  for (const char* path : {"/", "/healthz/ready/", "/healthz", "/HEALTHZ/READY"}) {
    CHECK(ask(readiness, "GET", path).status == 404);
    CHECK(ask(readiness, "POST", path).status == 404);
    CHECK(ask(readiness, "GET", path).body.empty());
  }
}

TEST_CASE("the readiness page is a handler for a server") {
  ManualLoop loop;
  Readiness readiness(loop.clock(), loop.now());
  auto ticket = readiness.begin("proxy");
  Request request;
  request.method = "GET";
  request.path = "/healthz/ready";
  const auto handler = readiness.handler();
  CHECK(loop.run(handler(request, {})).status == 500);
  ticket.release();
  CHECK(loop.run(handler(request, {})).body == "ready\n");
}
