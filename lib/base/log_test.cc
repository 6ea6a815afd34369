// How lines look, which are written, and what a slow reader costs.
#include "lib/base/log.h"

#include <fcntl.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <thread>

#include "tests/support/captured_log.h"

using namespace weft;
using weft::testing::CapturedLog;

namespace {

// The time a line begins with, in either format, is checked for its form and cut out.
std::string without_time(std::string line) {
  const auto begin = line.find("20");
  constexpr std::string_view kForm = "0000-00-00T00:00:00.000000Z";
  if (begin == line.npos || line.size() < begin + kForm.size()) return "no time: " + line;
  for (std::size_t i = 0; i < kForm.size(); ++i) {
    const bool digit = std::isdigit(static_cast<unsigned char>(line[begin + i])) != 0;
    if (kForm[i] == '0' ? !digit : line[begin + i] != kForm[i]) return "another time: " + line;
  }
  return line.replace(begin, kForm.size(), "T");
}

std::vector<std::string> without_times(std::vector<std::string> lines) {
  for (auto& line : lines) line = without_time(std::move(line));
  return lines;
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("a plain line has tabs between time, level, target, message and fields; text is quoted") {
  CapturedLog log;
  WEFT_LOG(kInfo, "access", "connection complete", {"src.addr", "10.1.0.9:40112", log::FieldKind::kDisplay},
           {"dst.workload", "web-0"}, {"bytes_sent", "79", log::FieldKind::kNumber});
  WEFT_LOG(kWarn, "app", "nothing to add");
  const auto lines = without_times(log.take());
  CHECK(lines == Lines{"T\tinfo\taccess\tconnection complete\tsrc.addr=10.1.0.9:40112 dst.workload=\"web-0\" bytes_sent=79",
                       "T\twarn\tapp\tnothing to add"});
}

TEST_CASE("a JSON line is one object: numbers stay numbers, everything else is text") {
  CapturedLog log("info", log::Format::kJson);
  WEFT_LOG(kError, "access", "connection complete", {"src.addr", "10.1.0.9:40112", log::FieldKind::kDisplay},
           {"bytes_sent", "79", log::FieldKind::kNumber}, {"error", "no"});
  const auto lines = without_times(log.take());
  CHECK(lines == Lines{"{\"level\":\"error\",\"time\":\"T\",\"scope\":\"access\",\"message\":\"connection complete\","
                       "\"src.addr\":\"10.1.0.9:40112\",\"bytes_sent\":79,\"error\":\"no\"}"});
}

TEST_CASE("text from a peer can end neither its field nor its line") {
  const std::string hostile = "a\" b=\"c\n2026\tinfo\r\\ \x01\x7f";
  const std::string written = "\"a\\\" b=\\\"c\\n2026\\tinfo\\r\\\\ \\u0001\\u007f\"";
  for (const auto format : {log::Format::kPlain, log::Format::kJson}) {
    CapturedLog log("info", format);
    WEFT_LOG(kInfo, "x", "m", {"k", hostile});
    const auto lines = log.take();
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].find(written) != std::string::npos);
  }
}

TEST_CASE("the filter decides by the longest target that fits") {
  CapturedLog log("warn,access=debug,access::inner=off");
  for (const char* target : {"app", "access", "access::inner", "access::other"}) {
    WEFT_LOG(kDebug, target, "debug");
    WEFT_LOG(kWarn, target, "warn");
  }
  CHECK(without_times(log.take()) == Lines{"T\twarn\tapp\twarn", "T\tdebug\taccess\tdebug", "T\twarn\taccess\twarn",
                                           "T\tdebug\taccess::other\tdebug", "T\twarn\taccess::other\twarn"});
}

TEST_CASE("lines of one thread stay in order, and none is lost that the queue can hold") {
  constexpr int kThreads = 4, kLines = 1000;
  CapturedLog log;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < kLines; ++i)
        WEFT_LOG(kInfo, "t", "line", {"thread", std::to_string(t)}, {"number", std::to_string(i)});
    });
  }
  for (auto& thread : threads) thread.join();
  const auto lines = log.take();
  CHECK(lines.size() == kThreads * kLines);
  std::vector<int> next(kThreads, 0);
  for (const auto& line : lines) {
    const int thread = line.at(line.find("thread=\"") + 8) - '0';
    const int number = std::stoi(line.substr(line.find("number=\"") + 8));
    REQUIRE(number == next.at(static_cast<std::size_t>(thread))++);
  }
}

namespace {

// Standard output is a pipe that nobody reads until drain().
struct StalledReader {
  StalledReader() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    reader = Fd(ends[0]);
    Fd writer(ends[1]);
    log::flush();
    std::fflush(stdout);
    screen = Fd(::dup(STDOUT_FILENO));
    ::dup2(writer.get(), STDOUT_FILENO);
  }
  // Everything that is written until `last` has been; the screen is back then.
  std::string drain(const std::string& last) {
    std::string text;
    char part[65536];
    while (!text.ends_with(last)) {
      const auto got = ::read(reader.get(), part, sizeof part);
      if (got <= 0) break;
      text.append(part, static_cast<std::size_t>(got));
    }
    ::dup2(screen.get(), STDOUT_FILENO);
    return text;
  }
  Fd reader, screen;
};

}  // namespace

TEST_CASE("nobody waits for a reader that stalls: what the queue cannot hold is dropped and counted, lines stay whole") {
  StalledReader stalled;
  const auto before = log::dropped_lines();
  constexpr std::uint64_t kLines = 40'000;  // more than queue and pipe take together
  for (std::uint64_t i = 0; i < kLines; ++i) WEFT_LOG(kInfo, "t", "line", {"number", std::to_string(i)});
  const auto dropped = log::dropped_lines() - before;
  const std::string text = stalled.drain("number=\"39999\"\n");
  CHECK(log::flush());
  CHECK(dropped > 0);
  CHECK(static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n')) + dropped == kLines);
  CHECK(log::dropped_lines() - before == dropped);
  CHECK(text.ends_with("number=\"39999\"\n"));
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = text.find('\n', begin);
    REQUIRE(text.substr(begin, end - begin).find("\tinfo\tt\tline\tnumber=\"") == 27);
    begin = end + 1;
  }
}

TEST_CASE("a reader that stalls does not keep a process from ending") {
  StalledReader stalled;
  for (int i = 0; i < 5'000; ++i) WEFT_LOG(kInfo, "t", "line", {"number", std::to_string(i)});
  const bool flushed = log::flush();
  stalled.drain("number=\"4999\"\n");
  CHECK_FALSE(flushed);
  CapturedLog log;
  WEFT_LOG(kInfo, "t", "again");
  CHECK(without_times(log.take()) == Lines{"T\tinfo\tt\tagain"});
}
