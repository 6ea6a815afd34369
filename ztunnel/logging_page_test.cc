#include "ztunnel/logging_page.h"

#include <catch2/catch_test_macros.hpp>

#include "lib/base/log.h"

using namespace weft;
using namespace weft::ztunnel;

namespace {

constexpr const char* kStart = "hickory_server::server=off,info";

admin::Response post(const std::string& query) {
  return answer_logging({.method = "POST", .path = "/logging", .query = query}, kStart);
}

// The filter is the process's: each test begins and ends with the start's.
struct Restored {
  Restored() { REQUIRE(log::set_filter(kStart)); }
  ~Restored() { (void)log::set_filter(kStart); }
};

}  // namespace

TEST_CASE("a request without a level reports") {
  Restored restored;
  for (const char* query : {"", "level=", "other=1"})
    CHECK(post(query).body == "current log level is hickory_server::server=off,info\n");
}

TEST_CASE("levels are added to the filter, the last of a target and of all counting") {
  Restored restored;
  CHECK(post("level=access=debug").body == "current log level is hickory_server::server=off,access=debug,info\n");
  CHECK(log::enabled(log::Level::kDebug, "access"));
  CHECK(!log::enabled(log::Level::kDebug, "inpod"));
  CHECK(post("level=warn,access%3Derror").body == "current log level is hickory_server::server=off,access=error,warn\n");
  CHECK(!log::enabled(log::Level::kInfo, "inpod"));
  CHECK(!log::enabled(log::Level::kWarn, "access"));
  CHECK(post("level=debug&level=trace").body == "current log level is hickory_server::server=off,access=error,trace\n");
  CHECK(post("level=ztunnel::inpod=off").body ==
        "current log level is hickory_server::server=off,access=error,ztunnel::inpod=off,trace\n");
  CHECK(!log::enabled(log::Level::kError, "inpod"));
}

TEST_CASE("a reset goes back to the start, and takes a level along") {
  Restored restored;
  CHECK(post("level=debug").status == 200);
  CHECK(post("reset").body == "current log level is hickory_server::server=off,info\n");
  CHECK(post("level=debug").status == 200);
  CHECK(post("level=access=error&reset").body == "current log level is hickory_server::server=off,access=error,info\n");
}

TEST_CASE("what is no level is refused with the usage and changes nothing") {
  Restored restored;
  for (const char* level : {"loud", "access", "access=", "access=loud", "info,loud"}) {
    INFO(level);
    const auto answer = post(std::string("level=") + level);
    CHECK(answer.status == 400);
    CHECK(answer.body.starts_with("Invalid level provided: " + std::string(level) + "\nusage: "));
    CHECK(answer.body.find("ztunnel::proxy") != std::string::npos);
  }
  CHECK(post("level=loud&reset").status == 400);
  CHECK(log::current_filter() == kStart);
}

TEST_CASE("another method is answered with the usage") {
  const auto answer = answer_logging({.method = "GET", .path = "/logging", .query = "level=debug"}, kStart);
  CHECK(answer.status == 405);
  CHECK(answer.body.starts_with("usage: POST /logging"));
}

TEST_CASE("a filter cannot grow without bound") {
  Restored restored;
  std::string level = "info";
  for (int i = 0; i < 100; ++i) level += ",target" + std::to_string(i) + "=debug";
  const auto answer = post("level=" + level);
  CHECK(answer.status == 400);
  CHECK(answer.body == "more than 64 targets in the log filter\n");
  CHECK(log::current_filter() == kStart);
}
