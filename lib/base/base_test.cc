#include <catch2/catch_test_macros.hpp>

#include "lib/base/buffer.h"
#include "lib/base/intrusive_list.h"
#include "lib/base/ip.h"
#include "lib/base/random.h"
#include "lib/base/result.h"

using namespace weft;

TEST_CASE("an IPv4-mapped IPv6 address is the IPv4 address") {
  auto mapped = IpAddress::parse("::ffff:10.1.2.3");
  REQUIRE(mapped);
  CHECK(mapped->is_v4());
  CHECK(mapped->to_string() == "10.1.2.3");
}

TEST_CASE("addresses that are no single host's are told apart, as IPv4-mapped IPv6 too") {
  const auto kinds = [](const char* text) {
    const auto ip = IpAddress::parse(text).value();
    return std::string() + (ip.is_loopback() ? "l" : "") + (ip.is_unspecified() ? "u" : "") +
           (ip.is_multicast() ? "m" : "") + (ip.is_broadcast() ? "b" : "");
  };
  for (const auto* text : {"127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.2"}) CHECK(kinds(text) == "l");
  for (const auto* text : {"0.0.0.0", "::", "::ffff:0.0.0.0"}) CHECK(kinds(text) == "u");
  for (const auto* text : {"224.0.0.1", "239.255.255.255", "::ffff:224.0.0.1", "ff02::1", "ff0e::1"})
    CHECK(kinds(text) == "m");
  for (const auto* text : {"255.255.255.255", "::ffff:255.255.255.255"}) CHECK(kinds(text) == "b");
  for (const auto* text : {"126.0.0.1", "128.0.0.1", "0.0.0.1", "::2", "223.255.255.255", "240.0.0.1", "255.255.255.254",
                           "fe80::1", "fd00::ff", "10.0.0.255"})
    CHECK(kinds(text).empty());
}

TEST_CASE("socket addresses print as they parse and reject what is ambiguous") {
  for (auto text : {"10.0.0.1:80", "[fd00::1]:15008"}) {
    auto address = SocketAddress::parse(text);
    REQUIRE(address);
    CHECK(address->to_string() == text);
  }
  for (auto text : {"", "10.0.0.1", "10.0.0.1:", "10.0.0.1:65536", "fd00::1:80", "[10.0.0.1]:80", "10.0.0.1:+8", "host:80"})
    CHECK_FALSE(SocketAddress::parse(text));
}

TEST_CASE("address blocks contain by prefix, not by family") {
  auto block = Cidr::parse("10.1.0.0/15");
  REQUIRE(block);
  CHECK(block->contains(*IpAddress::parse("10.0.9.9")));
  CHECK_FALSE(block->contains(*IpAddress::parse("10.2.0.0")));
  CHECK_FALSE(block->contains(*IpAddress::parse("fd00::1")));
  CHECK(Cidr::parse("0.0.0.0/0")->contains(*IpAddress::parse("1.2.3.4")));
  CHECK_FALSE(Cidr::parse("10.0.0.0/33"));
}

TEST_CASE("a chain splits and drops bytes across slices without losing any") {
  BufferChain chain;
  std::string all;
  for (int i = 0; i < 40; ++i) {
    std::string part(static_cast<std::size_t>(i % 7), static_cast<char>('a' + i % 26));
    all += part;
    chain.append(part);
  }
  auto head = chain.split(33);
  CHECK(head.to_string() == all.substr(0, 33));
  chain.remove_prefix(20);
  CHECK(chain.to_string() == all.substr(53));
  CHECK(chain.size() == all.size() - 53);
}

TEST_CASE("slices keep their block alive and a writer goes on behind what it gave out") {
  BufferWriter writer;
  writer.append(std::as_bytes(std::span("hello", 5)));
  Buffer first = writer.take();
  writer.append(std::as_bytes(std::span("world", 5)));
  Buffer second = writer.take();
  CHECK(first.view() == "hello");
  CHECK(second.slice(1, 3).view() == "orl");
  CHECK_FALSE(second.unique());
}

TEST_CASE("errno becomes a code and a sentence") {
  auto error = Error::from_errno(ECONNREFUSED, "connect 10.0.0.1:80");
  CHECK(error.code() == ErrorCode::kRefused);
  CHECK(error.message() == "connect 10.0.0.1:80: Connection refused");
}

TEST_CASE("the same seed draws the same numbers, below its bound") {
  SeededRandom a(7), b(7);
  for (int i = 0; i < 100; ++i) {
    auto value = a.below(10);
    CHECK(value == b.below(10));
    CHECK(value < 10);
  }
}
