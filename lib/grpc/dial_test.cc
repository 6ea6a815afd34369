#include "lib/grpc/dial.h"

#include <catch2/catch_test_macros.hpp>

using namespace weft;
using namespace weft::grpc;

TEST_CASE("a server is named by scheme, host and port") {
  struct Row {
    const char* text;
    const char* host;
    std::uint16_t port;
    const char* authority;
  };
  for (const Row& row :
       {Row{"https://istiod.istio-system.svc:15012", "istiod.istio-system.svc", 15012, "istiod.istio-system.svc:15012"},
        Row{"istiod.istio-system.svc:15012/", "istiod.istio-system.svc", 15012, "istiod.istio-system.svc:15012"},
        Row{"https://10.0.0.1:15012", "10.0.0.1", 15012, "10.0.0.1:15012"},
        Row{"https://[fd00::1]:15012", "fd00::1", 15012, "[fd00::1]:15012"},
        Row{"https://[fd00::1]", "fd00::1", 443, "[fd00::1]"}, Row{"https://ca", "ca", 443, "ca"}}) {
    INFO(row.text);
    auto address = ServerAddress::parse(row.text);
    REQUIRE(address);
    CHECK(address->transport == Transport::kTls);
    CHECK(address->host == row.host);
    CHECK(address->port == row.port);
    CHECK(address->authority == row.authority);
  }
  for (const char* bad : {"", "https://", "ftp://ca:1", "https://ca:", "https://ca:0", "https://ca:65536", "https://ca:1x",
                          "https://a b", "https://ca/path", "https://user@ca", "https://[fd00::1", "https://[10.0.0.1]:1",
                          "https://fd00::1", "https://[fd00::1]1", "https://ca?x"}) {
    INFO(bad);
    auto address = ServerAddress::parse(bad);
    REQUIRE_FALSE(address);
    CHECK(address.error().message().starts_with("invalid uri: "));
  }
}

TEST_CASE("clear text goes no further than this machine") {
  auto near = ServerAddress::parse("http://127.0.0.1:15010");
  REQUIRE(near);
  CHECK(near->transport == Transport::kClearText);
  CHECK(ServerAddress::parse("http://[::1]:15010"));
  CHECK_FALSE(ServerAddress::parse("http://10.0.0.1:15010"));
  CHECK_FALSE(ServerAddress::parse("http://istiod:15010"));
}
