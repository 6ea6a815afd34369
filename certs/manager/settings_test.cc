#include "certs/manager/settings.h"

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <vector>

using namespace weft;
using namespace weft::certs::manager;
using namespace std::chrono_literals;

namespace {

std::expected<Settings, int> read(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "weft-certs");
  return read_settings(static_cast<int>(arguments.size()), arguments.data());
}

const std::vector<const char*> kFolders = {"--ca-dir", "/ca", "--manifest-dir", "/m", "--token-dir", "/t"};

std::vector<const char*> with(std::vector<const char*> more) {
  more.insert(more.begin(), kFolders.begin(), kFolders.end());
  return more;
}

}  // namespace

TEST_CASE("the command line of the lab is understood") {
  auto settings = read(with({"--listen", "10.0.0.1:15012", "--server-name", "10.0.0.1", "--trust-domain", "cluster.local",
                             "--status-port", "15013"}));
  REQUIRE(settings);
  CHECK(settings->listen.to_string() == "10.0.0.1:15012");
  CHECK(settings->ca_directory == "/ca");
  CHECK(settings->manifest_directory == "/m");
  CHECK(settings->token_directory == "/t");
  CHECK(settings->server_names == tls::AlternativeNames{.ips = {*IpAddress::parse("10.0.0.1")}});
  CHECK(settings->status_port == 15013);
  CHECK(settings->certificate_life == 1h);
}

TEST_CASE("several server names are names and addresses, and the listening address stands in for none") {
  auto settings = read(with({"--listen", "[::]:1", "--server-name", "ca.mesh,fd00::1,*.ca.mesh"}));
  REQUIRE(settings);
  CHECK(settings->server_names.dns == std::vector<std::string>{"ca.mesh", "*.ca.mesh"});
  CHECK(settings->server_names.ips == std::vector{*IpAddress::parse("fd00::1")});
  settings = read(with({"--listen", "10.0.0.1:1"}));
  REQUIRE(settings);
  CHECK(settings->server_names.ips == std::vector{*IpAddress::parse("10.0.0.1")});
  CHECK(read(with({"--listen", "0.0.0.0:1"})).error() == 64);
}

TEST_CASE("the environment stands in for flags and flags win") {
  ::setenv("WEFT_CERTS_CERTIFICATE_LIFETIME", "20m", 1);
  ::setenv("WEFT_CERTS_LISTEN", "10.0.0.1:7", 1);
  auto settings = read(kFolders);
  REQUIRE(settings);
  CHECK(settings->certificate_life == 20min);
  CHECK(settings->listen.port() == 7);
  settings = read(with({"--certificate-lifetime", "90s"}));
  CHECK(settings.error() == 64);
  settings = read(with({"--certificate-lifetime", "120s"}));
  REQUIRE(settings);
  CHECK(settings->certificate_life == 2min);
  ::unsetenv("WEFT_CERTS_CERTIFICATE_LIFETIME");
  ::unsetenv("WEFT_CERTS_LISTEN");
}

TEST_CASE("help ends well, a wrong command line ends with 64") {
  CHECK(read({"--help"}).error() == 0);
  for (auto bad : {std::vector<const char*>{}, with({"--listen", "10.0.0.1"}), with({"--listen", "ca.mesh:15012"}),
                   with({"--status-port", "70000"}), with({"--trust-domain", "a/b"}), with({"--certificate-lifetime", "1"}),
                   with({"--certificate-lifetime", "1000h"}), with({"--server-name", "a b"}), with({"--unknown"}),
                   with({"--log-format", "xml"}), with({"--log", "audit=loud"})}) {
    bad.push_back("--listen");
    bad.push_back("10.0.0.1:1");
    CHECK(read(bad).error() == 64);
  }
}
