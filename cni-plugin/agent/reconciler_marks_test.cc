#include <algorithm>
#include <catch2/catch_test_macros.hpp>

#include "cni-plugin/agent/test_reconciler.h"
#include "tests/support/captured_log.h"

using namespace weft;
using namespace weft::cni::agent;
using namespace std::chrono_literals;

namespace {

MarkUser user(pid_t pid) { return {pid, "curl", 2, SocketAddress(ip("10.0.0.9"), 80)}; }

std::string looks(const char* outcome) { return std::string("weft_agent_mark_looks_total{outcome=\"") + outcome + "\"}"; }

// What is said in a minute, which is several looks.
std::vector<std::string> said_in_a_minute(Fixture& f) {
  testing::CapturedLog log;
  f.world.run_for(1min);
  return log.take();
}

bool holds(const std::vector<std::string>& lines, const std::string& text) {
  return std::any_of(lines.begin(), lines.end(), [&](const auto& line) { return line.find(text) != line.npos; });
}

struct Enrolled : Fixture {
  Enrolled() {
    start();
    node.spaces[7].addresses = {ip("10.0.0.5")};
    pod("a", "10.0.0.5");
    update();
    REQUIRE(until([&] { return enrolled("a", 7); }));
    CHECK(said_in_a_minute(*this).empty());
  }
};

}  // namespace

TEST_CASE("a pod's process with the proxy's mark is warned of once, counted while it goes on, and its end is told") {
  Enrolled f;
  CHECK(f.gauge(looks("none")) >= 3);
  CHECK(f.gauge("weft_agent_mark_using_pods") == 0);

  f.node.spaces[7].mark_users = {user(77)};
  auto lines = said_in_a_minute(f);
  CHECK(lines.size() == 1);
  CHECK(holds(lines, "warn\tagent\ta process of a pod uses the proxy's packet mark, past the mesh"));
  CHECK(holds(lines, "pod=\"shop/a\""));
  CHECK(holds(lines, "curl (pid 77), 2 connections, one to 10.0.0.9:80"));
  CHECK(f.gauge(looks("users")) >= 3);
  CHECK(f.gauge("weft_agent_mark_using_pods") == 1);

  f.node.spaces[7].mark_users = {user(77), user(78)};
  CHECK(said_in_a_minute(f).size() == 1);
  f.node.spaces[7].mark_users = {user(78)};
  CHECK(said_in_a_minute(f).empty());

  f.node.spaces[7].mark_users = {};
  lines = said_in_a_minute(f);
  CHECK(lines.size() == 1);
  CHECK(holds(lines, "no process of the pod uses the proxy's packet mark any more"));
  CHECK(f.gauge("weft_agent_mark_using_pods") == 0);
  CHECK(f.node.log == std::vector<std::string>{"prepare 7", "apply 7"});  // its rules are none the worse
}

TEST_CASE("where marks cannot be seen that is told once and counted, and the rules are looked after all the same") {
  Enrolled f;
  f.node.marks_broken = true;
  auto lines = said_in_a_minute(f);
  CHECK(lines.size() == 1);
  CHECK(holds(lines, "cannot see who uses the proxy's packet mark"));
  CHECK(f.gauge(looks("invalid_argument")) >= 3);
  f.node.spaces[7].redirected = false;
  f.world.run_for(1min);
  CHECK(f.node.spaces[7].redirected);
  f.node.marks_broken = false;
  CHECK(said_in_a_minute(f).empty());
  CHECK(f.gauge("weft_agent_mark_using_pods") == 0);
}

TEST_CASE("a pod none of whose processes can be seen is counted as such, and a pod that goes takes its users along") {
  Enrolled f;
  f.node.hides_processes = true;
  CHECK(said_in_a_minute(f).empty());
  CHECK(f.gauge(looks("no_process")) >= 3);
  f.node.hides_processes = false;
  f.node.spaces[7].mark_users = {user(77)};
  f.world.run_for(1min);
  CHECK(f.gauge("weft_agent_mark_using_pods") == 1);
  f.set.pods[0].wanted = false;
  f.update();
  REQUIRE(f.until([&] { return f.agent->reconciler.pods().empty(); }));
  CHECK(f.gauge("weft_agent_mark_using_pods") == 0);
}
