#include "lib/telemetry/metrics.h"

#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <limits>
#include <thread>

using namespace weft::telemetry;

namespace {

std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

void count_and_look_up(CounterFamily& family, std::atomic<bool>& go, int thread, int rounds) {
  while (!go) std::this_thread::yield();
  Counter& kept = family.with({{"worker", std::to_string(thread)}});
  for (int i = 0; i < rounds; ++i) {
    kept.add();
    family.with({{"worker", "shared"}}).add();
    family.with({{"worker", "new-" + std::to_string(i % 500)}}).add();
  }
}

}  // namespace

TEST_CASE("families are written as OpenMetrics text, in order, and left out while they have no sample") {
  Registry registry;
  auto& opened = registry.counters("istio_tcp_connections_opened", "The total number of TCP connections opened");
  registry.counters("istio_tcp_connections_failed", "Never counted");
  auto& bytes = registry.counters("istio_xds_message", "Total number of bytes received (unstable)", "bytes");
  auto& busy = registry.counters("worker_busy_seconds", "Time spent", "seconds");
  auto& open = registry.gauges("process_open_fds", "Open descriptors");
  opened.with({{"reporter", "source"}, {"source_workload", "web"}}).add(3);
  opened.with({{"reporter", "destination"}, {"source_workload", "web"}}).add();
  opened.with({{"reporter", "source"}, {"source_workload", "web"}}).add(2);
  bytes.with({{"url", "type.googleapis.com/x"}}).add(1'000'000);
  busy.with().add(7);
  registry.before_text([&open] { open.with().set(12); });
  CHECK(registry.text() ==
        "# HELP istio_tcp_connections_opened The total number of TCP connections opened.\n"
        "# TYPE istio_tcp_connections_opened counter\n"
        "istio_tcp_connections_opened_total{reporter=\"source\",source_workload=\"web\"} 5\n"
        "istio_tcp_connections_opened_total{reporter=\"destination\",source_workload=\"web\"} 1\n"
        "# HELP istio_xds_message_bytes Total number of bytes received (unstable).\n"
        "# TYPE istio_xds_message_bytes counter\n"
        "# UNIT istio_xds_message_bytes bytes\n"
        "istio_xds_message_bytes_total{url=\"type.googleapis.com/x\"} 1000000\n"
        "# HELP worker_busy_seconds Time spent.\n"
        "# TYPE worker_busy_seconds counter\n"
        "# UNIT worker_busy_seconds seconds\n"
        "worker_busy_seconds_total 7\n"
        "# HELP process_open_fds Open descriptors.\n"
        "# TYPE process_open_fds gauge\n"
        "process_open_fds 12\n"
        "# EOF\n");
}

TEST_CASE("in the older format a family is named as its samples, and an ending kept for histograms has no type") {
  Registry registry;
  registry.counters("istio_xds_message", "Bytes received (unstable)", "bytes").with({{"url", "x"}}).add(3);
  registry.gauges("workload_manager_active_proxy_count", "Pods served (unstable)").with().set(2);
  registry.gauges("process_open_fds", "Open descriptors").with().set(12);
  CHECK(registry.text(TextFormat::kPrometheus) ==
        "# HELP istio_xds_message_bytes_total Bytes received (unstable).\n"
        "# TYPE istio_xds_message_bytes_total counter\n"
        "istio_xds_message_bytes_total{url=\"x\"} 3\n"
        "# HELP workload_manager_active_proxy_count Pods served (unstable).\n"
        "# TYPE workload_manager_active_proxy_count untyped\n"
        "workload_manager_active_proxy_count 2\n"
        "# HELP process_open_fds Open descriptors.\n"
        "# TYPE process_open_fds gauge\n"
        "process_open_fds 12\n"
        "# EOF\n");
}

TEST_CASE("an empty registry is valid text") { CHECK(Registry().text() == "# EOF\n"); }

TEST_CASE("a family asked for again is the same one") {
  Registry registry;
  auto& first = registry.counters("a", "A");
  for (int i = 0; i < 100; ++i) registry.gauges("g" + std::to_string(i), "G");
  CHECK(&registry.counters("a", "A") == &first);
}

TEST_CASE("label values are escaped, and what is not UTF-8 is replaced") {
  const std::pair<std::string, std::string> cases[] = {
      {"", ""},
      {"a\\b\"c\nd", "a\\\\b\\\"c\\nd"},
      {"{x=\"1\"} 5 # EOF", "{x=\\\"1\\\"} 5 # EOF"},
      {"größe \xE2\x82\xAC \xF0\x9F\x90\x83", "größe \xE2\x82\xAC \xF0\x9F\x90\x83"},
      {std::string("a\0b", 3),
       "a\xEF\xBF\xBD"
       "b"},
      {"\xFF", "\xEF\xBF\xBD"},
      {"x\xC3", "x\xEF\xBF\xBD"},                                                // cut short
      {"\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD"},                                  // overlong
      {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},                  // surrogate
      {"\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},  // beyond U+10FFFF
      {"\xE2\x82\"", "\xEF\xBF\xBD\xEF\xBF\xBD\\\""},                            // must not swallow the quote
  };
  for (const auto& [value, written] : cases) {
    Registry registry;
    registry.gauges("g", "G").with({{"v", value}});
    CHECK(registry.text() == "# HELP g G.\n# TYPE g gauge\ng{v=\"" + written + "\"} 0\n# EOF\n");
  }
}

TEST_CASE("label sets that differ only in where a value ends are different series") {
  Registry registry;
  auto& family = registry.counters("c", "C");
  auto& one = family.with({{"a", "x\",b=\"y"}});
  auto& two = family.with({{"a", "x"}, {"b", "y"}});
  auto& three = family.with({{"a", "x"}, {"b", ""}});
  CHECK(&one != &two);
  CHECK(&two != &three);
  CHECK(&two == &family.with({{"a", "x"}, {"b", "y"}}));
}

TEST_CASE("gauge values are written as numbers every reader takes") {
  Registry registry;
  auto& gauge = registry.gauges("g", "G").with();
  const std::pair<double, std::string> cases[] = {{0, "0"},
                                                  {-0.0, "0"},
                                                  {1'048'576, "1048576"},
                                                  {-3, "-3"},
                                                  {0.25, "0.25"},
                                                  {1e300, "1e+300"},
                                                  {std::numeric_limits<double>::infinity(), "+Inf"},
                                                  {-std::numeric_limits<double>::infinity(), "-Inf"},
                                                  {NAN, "NaN"}};
  for (const auto& [value, written] : cases) {
    gauge.set(value);
    CHECK(registry.text().find("\ng " + written + "\n") != std::string::npos);
  }
  gauge.set(1);
  gauge.add(0.5);
  gauge.add(-2);
  CHECK(gauge.value() == -0.5);
}

TEST_CASE("label sets beyond the bound are counted together") {
  Registry registry;
  auto& family = registry.counters("c", "C");
  for (std::size_t i = 0; i < kSeriesMax + 100; ++i) family.with({{"a", std::to_string(i)}, {"b", "x"}}).add();
  CHECK(family.with({{"a", "other"}, {"b", "other"}}).value() == 100);
  CHECK(family.with({{"a", "5"}, {"b", "x"}}).value() == 1);
  const auto text = registry.text();
  CHECK(count_of(text, "c_total{") == kSeriesMax + 1);
  CHECK(count_of(text, "c_total{a=\"other\",b=\"other\"} 100\n") == 1);
}

TEST_CASE("long label values fill a family by their bytes") {
  Registry registry;
  auto& family = registry.counters("c", "C");
  const std::string filler(64 * 1024, 'x');
  const std::size_t fits = kSeriesTextMax / (filler.size() + 16);
  for (std::size_t i = 0; i < fits + 50; ++i) family.with({{"a", filler + std::to_string(i)}}).add();
  CHECK(family.with({{"a", "other"}}).value() >= 40);
  CHECK(registry.text().size() < kSeriesTextMax + (1 << 20));
}

TEST_CASE("threads count, look up and read at the same time without losing anything") {
  constexpr int kThreads = 4;
  constexpr int kRounds = 5'000;
  Registry registry;
  auto& family = registry.counters("c", "C");
  std::atomic<bool> go = false;
  std::atomic<int> running = kThreads;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      count_and_look_up(family, go, i, kRounds);
      --running;
    });
  }
  go = true;
  while (running > 0) CHECK(registry.text().ends_with("# EOF\n"));
  for (auto& thread : threads) thread.join();
  CHECK(family.with({{"worker", "shared"}}).value() == kThreads * kRounds);
  CHECK(family.with({{"worker", "new-499"}}).value() == kThreads * kRounds / 500);
  for (int i = 0; i < kThreads; ++i) CHECK(family.with({{"worker", std::to_string(i)}}).value() == kRounds);
}
