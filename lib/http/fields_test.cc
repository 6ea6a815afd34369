#include "lib/http/fields.h"

#include <catch2/catch_test_macros.hpp>

namespace weft::http {
namespace {

TEST_CASE("forwarded names the client and the service") {
  CHECK(format_forwarded(*SocketAddress::parse("10.0.0.1:4711"), "") == "for=\"10.0.0.1:4711\"");
  CHECK(format_forwarded(*SocketAddress::parse("[fd00::1]:80"), "web.shop.svc") == "for=\"[fd00::1]:80\";host=web.shop.svc");
  CHECK(format_forwarded(*SocketAddress::parse("10.0.0.1:1"), "a\r\nx: y") == "for=\"10.0.0.1:1\"");
  CHECK(format_forwarded(*SocketAddress::parse("10.0.0.1:1"), "a;host=b") == "for=\"10.0.0.1:1\"");
}

TEST_CASE("the forwarded host is the first host parameter without quotes") {
  struct Row {
    std::string_view field, host;
  };
  const Row rows[] = {
      {"host=a.b", "a.b"},
      {"for=\"10.0.0.1:4711\";host=a.b", "a.b"},
      {"for=x; host=\"a.b\" ;proto=http", "a.b"},
      {"host=\"a", "a"},
      {"host=a;host=b", "a"},
      {"Host=a", ""},
      {"xhost=a", ""},
      {"host=", ""},
      {"host=\"", ""},
      {"host=\"\"", ""},
      {"", ""},
      {";;;", ""},
      {"host=a\xff", ""},
      {std::string_view("host=a\0b", 8), ""},
  };
  for (const auto& row : rows) {
    INFO(row.field);
    CHECK(forwarded_host(row.field) == row.host);
  }
  CHECK(forwarded_host(std::string(1 << 20, ';')).empty());
}

TEST_CASE("a traceparent is read only in its exact form") {
  const std::string good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  auto parsed = TraceParent::parse(good);
  REQUIRE(parsed);
  CHECK(parsed->trace_id == "0af7651916cd43dd8448eb211c80319c");
  CHECK(parsed->parent_id == "b7ad6b7169203331");
  CHECK(parsed->flags == 1);
  CHECK(parsed->to_string() == good);
  CHECK_FALSE(TraceParent::parse(""));
  CHECK_FALSE(TraceParent::parse(good + "-"));
  CHECK_FALSE(TraceParent::parse(good.substr(1)));
  for (std::size_t i = 0; i < good.size(); ++i) {
    auto bad = good;
    bad[i] = 'z';
    INFO(bad);
    CHECK_FALSE(TraceParent::parse(bad));
  }
}

TEST_CASE("a made traceparent has its draws as lower-case hex") {
  auto made = TraceParent::make(0x1, 0xabcdef, 0xffffffffffffffff);
  CHECK(made.to_string() == "00-00000000000000010000000000abcdef-ffffffffffffffff-00");
  CHECK(TraceParent::parse(made.to_string()) == made);
}

TEST_CASE("only a readable name of another network counts as one") {
  CHECK_FALSE(from_other_network(std::nullopt, "a"));
  CHECK_FALSE(from_other_network("Net-A", "net-a"));
  CHECK(from_other_network("net-b", "net-a"));
  CHECK(from_other_network("", "net-a"));
  CHECK(from_other_network("net-b", ""));
  CHECK_FALSE(from_other_network("net\x01", "net-a"));
}

}  // namespace
}  // namespace weft::http
