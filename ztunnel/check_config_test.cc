#include "ztunnel/check_config.h"

#include <catch2/catch_test_macros.hpp>

#include "lib/asio/files.h"
#include "lib/tls/test_authority.h"
#include "tests/support/temporary_folder.h"

using namespace weft;
using namespace weft::ztunnel;

namespace {

std::vector<std::string> check(const Environment& environment, const Result<std::optional<std::string>>& mesh_config = {}) {
  asio::Loop loop;
  asio::KernelFiles files(loop);
  return check_config(environment, 4, mesh_config, files);
}

bool names(const std::vector<std::string>& problems, const std::string& beginning) {
  for (const auto& problem : problems) {
    if (problem.starts_with(beginning)) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("a good configuration has no problems") {
  const testing::TemporaryFolder folder;
  const tls::TestAuthority authority(SystemClock().wall());
  const Environment good = {{"XDS_ADDRESS", ""},
                            {"CA_ROOT_CA", folder.file("root.pem", authority.root().to_pem())},
                            {"AUTH_TOKEN", folder.file("token", "abc")},
                            {"RUST_LOG", "access=debug,info"}};
  auto with_folder = good, with_file = good, with_text = good;
  with_folder["MANIFEST_DIR"] = folder.path();
  with_file["LOCAL_XDS_PATH"] = folder.file("mesh.yaml", "workloads: []\n");
  with_text["LOCAL_XDS"] = "policies: []";
  for (const auto& environment : {with_folder, with_file, with_text}) CHECK(check(environment).empty());
}

TEST_CASE("every problem of a configuration is named at once") {
  const testing::TemporaryFolder folder;
  const auto problems = check({{"XDS_ADDRESS", ""},
                               {"LOCAL_XDS_PATH", folder.file("mesh.yaml", "workloads: []\nsurprise: 1\n")},
                               {"CA_ROOT_CA", folder.file("root.pem", "no certificate")},
                               {"AUTH_TOKEN", folder.file("token", "")},
                               {"RUST_LOG", "access=loud"},
                               {"KEEPALIVE_RETRIES", "many"},
                               {"SECRET_TTL", "1 day"}},
                              fail(ErrorCode::kPermission, "./etc/istio/config/mesh: Permission denied"));
  CHECK(problems.size() == 7);
  for (const char* beginning : {"LOCAL_XDS_PATH: local configuration: ", "CA_ROOT_CA: root certificate ", "AUTH_TOKEN: ",
                                "RUST_LOG: Invalid level provided: loud", "invalid env var KEEPALIVE_RETRIES=many",
                                "invalid env var SECRET_TTL=1 day", "./etc/istio/config/mesh: Permission denied"}) {
    INFO(beginning);
    CHECK(names(problems, beginning));
  }
}

TEST_CASE("files that are named must be there") {
  const testing::TemporaryFolder folder;
  auto problems = check({{"XDS_ADDRESS", ""}, {"MANIFEST_DIR", folder.path() + "/none"}, {"CA_ROOT_CA", "SYSTEM"}});
  REQUIRE(problems.size() == 1);
  CHECK(names(problems, "MANIFEST_DIR: "));
  problems =
      check({{"XDS_ADDRESS", ""}, {"LOCAL_XDS_PATH", folder.path() + "/none"}, {"CA_ROOT_CA", folder.path() + "/none.pem"}});
  CHECK(problems.size() == 2);
  CHECK(names(problems, "LOCAL_XDS_PATH: "));
  CHECK(names(problems, "CA_ROOT_CA: "));
}
