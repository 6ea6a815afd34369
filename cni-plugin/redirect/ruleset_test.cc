#include "cni-plugin/redirect/ruleset.h"

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "cni-plugin/redirect/host_ruleset.h"

using namespace weft;
using namespace weft::cni::redirect;

namespace {

// Compares with golden/NAME; with WEFT_UPDATE_GOLDEN set, writes it instead.
void check_golden(const std::string& name, const std::string& text) {
  const auto path = std::string(GOLDEN_FOLDER) + "/" + name;
  if (std::getenv("WEFT_UPDATE_GOLDEN")) std::ofstream(path) << text;
  std::ifstream file(path);
  std::stringstream expected;
  expected << file.rdbuf();
  INFO(path);
  CHECK(text == expected.str());
}

constexpr const char* kHeader =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

}  // namespace

TEST_CASE("rules for IPv4 alone") { check_golden("ipv4.nft", install_text({.ipv6 = false}, {})); }

TEST_CASE("rules for both families") { check_golden("dual.nft", install_text({.ipv6 = true}, {})); }

TEST_CASE("rules with DNS capture") { check_golden("dns.nft", install_text({.ipv6 = true, .dns_capture = true}, {})); }

TEST_CASE("rules that let open connections go on, each family in its set, both directions") {
  const std::vector<Connection> open{{*SocketAddress::parse("10.0.0.5:40000"), *SocketAddress::parse("10.0.0.9:80")},
                                     {*SocketAddress::parse("[fd00::5]:8080"), *SocketAddress::parse("[fd00::9]:50000")}};
  check_golden("open.nft", install_text({.ipv6 = true}, open));
}

TEST_CASE("rules under which conntrack sees connections and nothing is redirected") {
  check_golden("tracking.nft", tracking_text());
  CHECK(tracking_text().find("redirect") == std::string::npos);
}

TEST_CASE("rules with other addresses for health probes") {
  const auto text = install_text({.probes = {.v4 = *IpAddress::parse("192.0.2.9"), .v6 = *IpAddress::parse("fd99::9")}}, {});
  CHECK(text.find("ip saddr 192.0.2.9 counter accept") != std::string::npos);
  CHECK(text.find("ip6 daddr fd99::9 counter accept") != std::string::npos);
  CHECK(text.find("169.254.7.127") == std::string::npos);
}

TEST_CASE("rules of the node: nobody's probes, a family's, both families'") {
  const ProbedPods pods{{*IpAddress::parse("10.0.0.5"), "6f4c1f0e-0b1d-4d3a-9a43-2f5f7a1c1e11"},
                        {*IpAddress::parse("10.0.0.6"), "shop/front"},
                        {*IpAddress::parse("fd00::5"), "6f4c1f0e-0b1d-4d3a-9a43-2f5f7a1c1e11"}};
  check_golden("host-none.nft", host_install_text({}, {}));
  check_golden("host-ipv4.nft", host_install_text({.ipv6 = false, .kubelet = 998}, pods));
  check_golden("host-dual.nft", host_install_text({}, pods));
  check_golden("host-remove.nft", host_remove_text());
}

TEST_CASE("a UID is never read as a rule") {
  const auto text =
      host_install_text({}, {{*IpAddress::parse("10.0.0.5"), "a\" }\n}\nflush ruleset\n#\\" + std::string(500, 'x')}});
  CHECK(text.find("10.0.0.5 comment \"a______flush_ruleset___xxx") != std::string::npos);
  CHECK(text.find("\nflush") == std::string::npos);
  CHECK(text.find(std::string(121, 'x')) == std::string::npos);
}

TEST_CASE("removal names every table") { check_golden("remove.nft", remove_text()); }

TEST_CASE("open connections are read from /proc/net/tcp; listeners, finished ones and loopback are not") {
  const auto found = parse_open_connections(
      std::string(kHeader) +
      "   0: 0500000A:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n"
      "   1: 0500000A:9C40 0900000A:0050 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1\n"
      "   2: 0500000A:9C41 0900000A:0050 06 00000000:00000000 00:00000000 00000000     0        0 0 3 0 20 4 30 10 -1\n"
      "   3: 0100007F:9C42 0100007F:0050 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 20 4 30 10 -1\n"
      "   4: 0500000A:9C43 0900000A:0051 02 00000000:00000000 00:00000000 00000000     0        0 4 1 0 20 4 30 10 "
      "-1\n");
  REQUIRE(found.size() == 2);
  CHECK(found[0].local.to_string() == "10.0.0.5:40000");
  CHECK(found[0].remote.to_string() == "10.0.0.9:80");
  CHECK(found[1].remote.to_string() == "10.0.0.9:81");
}

TEST_CASE("IPv4 connections of IPv6 sockets are IPv4") {
  const auto found = parse_open_connections(
      std::string(kHeader) +
      "   0: 0000000000000000FFFF00000500000A:1F90 0000000000000000FFFF00000900000A:C350 01 0:0 00:0 0 0 0 2\n"
      "   1: 000000FD000000000000000005000000:1F90 000000FD000000000000000009000000:C350 08 0:0 00:0 0 0 0 2\n");
  REQUIRE(found.size() == 2);
  CHECK(found[0].local.to_string() == "10.0.0.5:8080");
  CHECK(found[0].remote.to_string() == "10.0.0.9:50000");
  CHECK(found[1].local.ip().is_v6());
  CHECK(found[1].remote.port() == 50000);
}

TEST_CASE("lines of /proc/net/tcp that make no sense are skipped") {
  for (const char* text :
       {"", "\n\n", "0:", "0: :", "0: 0500000A:1F90", "0: 0500000A:1F90 0900000A:0050", "0: XX00000A:1F90 0900000A:0050 01",
        "0: 0500000A:1F901 0900000A:0050 01", "0: 0500000A:1F90 0900000A:0050 ZZ", "0: 050000:1F90 090000:0050 01"}) {
    CHECK(parse_open_connections(text).empty());
  }
}

TEST_CASE("our tables are found in a listing among others, in any order") {
  const std::string nat = "table inet istio-ambient-nat {\n\tchain a {\n\t}\n}\n";
  const std::string mangle = "table inet istio-ambient-mangle {\n}\n";
  const std::string other = "table inet filter {\n\tchain istio-ambient-nat {\n\t}\n}\n";
  const std::string longer = "table inet istio-ambient-nat-2 {\n\tchain b {\n\t}\n}\n";
  CHECK(our_tables(nat + other + mangle + longer) == mangle + nat);
  CHECK(our_tables(other + longer).empty());
  CHECK(our_tables("").empty());
}
