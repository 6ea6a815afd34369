// What the page says of given contents; that a running node gathers them is tested in tests/netns.
#include "ztunnel/dump/status.h"

#include <catch2/catch_test_macros.hpp>

#include "lib/async/manual_loop.h"
#include "lib/model/test_objects.h"
#include "lib/tls/test_authority.h"
#include "ztunnel/dump/json.h"

using namespace weft;
using namespace weft::ztunnel;
using namespace std::chrono_literals;
using dump::Json;

namespace {

Settings settings_from(const std::map<std::string, std::string>& environment) {
  auto settings = load_settings(environment, 4);
  REQUIRE(settings);
  return *settings;
}

const std::map<std::string, std::string> kManifests{
    {"XDS_ADDRESS", ""}, {"MANIFEST_DIR", "/state"}, {"NODE_NAME", "node-a"}, {"ZTUNNEL_WORKER_THREADS", "3"}};

dump::StatusContents contents() {
  dump::StatusContents out;
  out.build = {.version = "1.2", .git_revision = "abc"};
  out.engine = "epoll (io_uring: Operation not permitted)";
  out.mesh = model::mesh({.workloads = {model::pod("shop", "web", "10.0.0.1")}});
  return out;
}

Json shown(const dump::StatusContents& given, const std::map<std::string, std::string>& environment = kManifests) {
  return Json::parse(dump::status(settings_from(environment), given));
}

class FixedSource final : public certs::CertificateSource {
 public:
  explicit FixedSource(certs::CredentialsPtr credentials) : credentials_(std::move(credentials)) {}
  Task<Result<certs::CredentialsPtr>> fetch(model::Identity, std::uint64_t, StopToken) override {
    if (!credentials_) co_return fail(ErrorCode::kUnavailable, "no authority");
    co_return credentials_;
  }

 private:
  certs::CredentialsPtr credentials_;
};

Json certificate_row(bool authority_answers, Duration later) {
  ManualLoop loop;
  tls::TestAuthority authority(loop.clock().wall());
  const auto leaf = authority.leaf({.uris = {"spiffe://cluster.local/ns/shop/sa/web"}});
  FixedSource source(authority_answers ? authority.credentials(leaf) : nullptr);
  certs::SecretManager secrets(loop, source);
  (void)secrets.request({"cluster.local", "shop", "web"}, certs::Priority::kWarmup);
  loop.run_until_idle();
  auto given = contents();
  given.certificates = secrets.entries();
  given.now = loop.clock().wall() + later;
  auto rows = shown(given)["certificates"];
  loop.run(secrets.stop());
  REQUIRE(rows.size() == 1);
  return rows[0];
}

}  // namespace

TEST_CASE("the page says which proxy this is, what it runs on and what mesh is in force") {
  const auto page = shown(contents());
  CHECK(page["node"] == "node-a");
  CHECK(page["version"] == "1.2");
  CHECK(page["gitRevision"] == "abc");
  CHECK(page["workers"] == Json{{"count", 3}, {"engine", "epoll (io_uring: Operation not permitted)"}});
  CHECK(page["mesh"]["source"] == "manifests");
  CHECK(page["mesh"]["revision"] == 1);
  CHECK(page["mesh"]["workloads"] == 1);
  CHECK(page["manifests"].is_null());
  CHECK(shown(contents(), {{"XDS_ADDRESS", ""}, {"LOCAL_XDS_PATH", "/x"}})["mesh"]["source"] == "LOCAL_XDS_PATH");
}

TEST_CASE("a process that is not ready names what it waits for") {
  auto given = contents();
  CHECK(shown(given)["ready"] == true);
  given.waiting_for = {"state manager", "workload proxy manager"};
  const auto page = shown(given);
  CHECK(page["ready"] == false);
  CHECK(page["waitingFor"] == Json::array({"state manager", "workload proxy manager"}));
}

TEST_CASE("files that cannot be read are named with their place, a bounded number of them") {
  auto given = contents();
  auto state = std::make_shared<sources::FolderState>();
  for (std::size_t i = 0; i < dump::kManifestProblemsShown + 5; ++i)
    state->problems.push_back({"/state/a.yaml", {manifest::Level::kError, "Unreadable", "", "no YAML", 7}, true});
  state->output.policy_rules_without_effect = 2;
  given.manifests = state;
  given.counters.files = 9;
  given.counters.unreadable = 1;
  const auto told = shown(given)["manifests"];
  CHECK(told["folder"] == "/state");
  CHECK(told["files"] == 9);
  CHECK(told["unreadable"] == 1);
  CHECK(told["rulesWithoutEffect"] == 2);
  CHECK(told["problemCount"] == dump::kManifestProblemsShown + 5);
  CHECK(told["problems"].size() == dump::kManifestProblemsShown);
  CHECK(told["problems"][0] == Json{{"file", "/state/a.yaml"},
                                    {"line", 7},
                                    {"reason", "Unreadable"},
                                    {"message", "no YAML"},
                                    {"lastGoodInForce", true}});
}

TEST_CASE("a certificate is told with its remaining life, which may be over") {
  const auto fresh = certificate_row(true, 0s);
  CHECK(fresh["identity"] == "spiffe://cluster.local/ns/shop/sa/web");
  CHECK(fresh["state"] == "Available");
  CHECK(fresh["remainingSeconds"] > 0);
  CHECK(fresh["remainingSeconds"] <= fresh["lifeSeconds"]);
  CHECK(fresh["expirationTime"].get<std::string>() > fresh["validFrom"].get<std::string>());
  CHECK(certificate_row(true, std::chrono::hours(24 * 3650))["remainingSeconds"] < 0);
}

TEST_CASE("an identity without a certificate says why") {
  const auto row = certificate_row(false, 0s);
  CHECK(row["state"] == "Unavailable: no authority");
  CHECK(!row.contains("remainingSeconds"));
}

TEST_CASE("pods are told by name with the state of their proxy") {
  auto given = contents();
  given.pods = {{{"u1", "web", "shop", "default"}, true, {ConnectionRow{}}, {}},
                {{"u2", "db", "shop", "sa"}, false, {}, {}}};
  const auto rows = shown(given)["pods"];
  CHECK(rows[0] ==
        Json{{"uid", "u1"}, {"pod", "shop/web"}, {"serviceAccount", "default"}, {"state", "Up"}, {"connections", 1}});
  CHECK(rows[1]["state"] == "Pending");
}
