#include "cni-plugin/agent/settings.h"

#include <catch2/catch_test_macros.hpp>

using namespace weft;
using namespace weft::cni::agent;
namespace redirect = weft::cni::redirect;

namespace {
const Environment kLeast{{"NODE_NAME", "n1"}, {"MANIFEST_DIR", "/m"}};
}  // namespace

TEST_CASE("defaults are istio-cni's") {
  const auto settings = load_settings(kLeast, {});
  REQUIRE(settings);
  CHECK(settings->run_dir == "/var/run/istio-cni");
  CHECK(settings->zds_path == "/var/run/ztunnel/ztunnel.sock");
  CHECK(settings->monitoring_port == 15014);
  CHECK(settings->admin_port == 15015);
  CHECK(settings->readiness_port == 8000);
  CHECK(settings->enablement.size() == 2);
  CHECK(settings->ipv6);
  CHECK_FALSE(settings->native_nftables);
  CHECK_FALSE(settings->force_iptables);
  CHECK(settings->probes == redirect::ProbeSource{});
  CHECK_FALSE(settings->switch_to_host);
  CHECK_FALSE(settings->clean_at_stop);
}

TEST_CASE("everything that is wrong is said at once") {
  const auto settings = load_settings({{"MONITORING_PORT", "70000"},
                                       {"ADMIN_PORT", "x"},
                                       {"READINESS_PORT", "0"},
                                       {"AMBIENT_IPV6", "yes"},
                                       {"NATIVE_NFTABLES", "nft"},
                                       {"FORCE_IPTABLES_BINARY", "iptables-nft"},
                                       {"HOST_PROBE_SNAT_IP", "fd00::1"},
                                       {"HOST_PROBE_SNAT_IPV6", "::1"},
                                       {"AMBIENT_ENABLEMENT_SELECTOR", "{}"}},
                                      {"--wrong"});
  REQUIRE_FALSE(settings);
  for (const auto* name : {"NODE_NAME", "MANIFEST_DIR", "MONITORING_PORT", "ADMIN_PORT is", "READINESS_PORT", "AMBIENT_IPV6",
                           "NATIVE_NFTABLES", "FORCE_IPTABLES_BINARY is neither legacy nor nft", "HOST_PROBE_SNAT_IP is",
                           "HOST_PROBE_SNAT_IPV6 is", "AMBIENT_ENABLEMENT_SELECTOR", "--wrong"}) {
    INFO(name);
    CHECK(settings.error().message().find(name) != std::string::npos);
  }
}

TEST_CASE("values are read") {
  auto environment = kLeast;
  environment["EXCLUDE_NAMESPACES"] = "kube-system, ,other";
  environment["MONITORING_PORT"] = "-1";
  environment["ADMIN_PORT"] = "0";
  environment["AMBIENT_IPV6"] = "F";
  environment["NATIVE_NFTABLES"] = "true";
  environment["FORCE_IPTABLES_BINARY"] = "legacy";
  environment["HOST_PROBE_SNAT_IP"] = "192.0.2.1";
  environment["HOST_PROBE_SNAT_IPV6"] = "fd00::7";
  environment["ALLOW_SWITCH_TO_HOST_NS"] = "true";
  environment["AMBIENT_ENABLEMENT_SELECTOR"] =
      "- podSelector: {matchLabels: {a: b}}\n"
      "- namespaceSelector:\n    matchExpressions: [{key: k, operator: In, values: [x, y]}]\n";
  const auto settings = load_settings(environment, {"--log_output_level=default:info,cni-agent:debug", "--log_as_json"});
  REQUIRE(settings);
  CHECK(settings->excluded_namespaces == std::set<std::string>{"kube-system", "other"});
  CHECK(settings->monitoring_port == 0);
  CHECK(settings->admin_port == 0);
  CHECK_FALSE(settings->ipv6);
  CHECK(settings->native_nftables);
  CHECK(settings->force_iptables == redirect::IptablesVariant::kLegacy);
  CHECK(settings->probes.v4.to_string() == "192.0.2.1");
  CHECK(settings->probes.v6.to_string() == "fd00::7");
  CHECK(settings->switch_to_host);
  CHECK(settings->log_filter == "info,agent=debug");
  CHECK(settings->log_json);
  REQUIRE(settings->enablement.size() == 2);
  CHECK(settings->enablement[0].pod.matches({{"a", "b"}}));
  CHECK_FALSE(settings->enablement[0].pod.matches({}));
  CHECK(settings->enablement[1].namespace_.matches({{"k", "y"}}));
  CHECK_FALSE(settings->enablement[1].namespace_.matches({{"k", "z"}}));
}
