#include "cni-plugin/agent/plugin_event.h"

#include <catch2/catch_test_macros.hpp>

using namespace weft;
using namespace weft::cni::agent;

TEST_CASE("an add event is read as istio-cni's plugin writes it") {
  const auto event = parse_add_event(
      R"({"Netns":"/var/run/netns/cni-1","PodName":"p","PodNamespace":"ns",
          "IPs":[{"Interface":0,"Address":{"IP":"10.244.0.5","Mask":"////AA=="},"Gateway":"10.244.0.1"},
                 {"Interface":null,"Address":{"IP":"fd00::5","Mask":""},"Gateway":""}]})");
  REQUIRE(event);
  CHECK(event->netns == "/var/run/netns/cni-1");
  CHECK(event->pod_name == "p");
  CHECK(event->pod_namespace == "ns");
  REQUIRE(event->ips.size() == 2);
  CHECK(event->ips[1].to_string() == "fd00::5");
}

TEST_CASE("addresses may be missing") {
  CHECK(parse_add_event(R"({"Netns":"/n","PodName":"p","PodNamespace":"ns","IPs":null})"));
  CHECK(parse_add_event(R"({"Netns":"/n","PodName":"p","PodNamespace":"ns"})")->pod_uid.empty());
  CHECK(parse_add_event(R"({"Netns":"/n","PodName":"p","PodNamespace":"ns","PodUID":"u-1"})")->pod_uid == "u-1");
}

TEST_CASE("an add event that is none says why") {
  for (const auto* body :
       {"", "{", "[]", "null", "\xFF", R"({"Netns":"/n","PodName":"p"})", R"({"Netns":1,"PodName":"p","PodNamespace":"n"})",
        R"({"Netns":"n","PodName":"p","PodNamespace":"n"})", R"({"Netns":"/n","PodName":"","PodNamespace":"n"})",
        R"({"Netns":"/n","PodName":"p","PodNamespace":"n","PodUID":7})",
        R"({"Netns":"/n","PodName":"p","PodNamespace":"n","IPs":{}})",
        R"({"Netns":"/n","PodName":"p","PodNamespace":"n","IPs":[1]})",
        R"({"Netns":"/n","PodName":"p","PodNamespace":"n","IPs":[{"Address":{"IP":"x"}}]})"}) {
    INFO(body);
    const auto event = parse_add_event(body);
    REQUIRE_FALSE(event);
    CHECK(event.error().code() == ErrorCode::kInvalidArgument);
    CHECK_FALSE(event.error().message().empty());
  }
  const std::string deep(60'000, '[');
  CHECK_FALSE(parse_add_event(deep));
}

TEST_CASE("lines of the plugin are read, those that are none are counted") {
  std::size_t dropped = 0;
  const auto lines = parse_log_lines(
      R"(["{\"level\":\"info\",\"time\":\"2026-01-01T00:00:00Z\",\"msg\":\"added\",\"pod\":\"a\",\"count\":3}",
          "nonsense", 7, "{\"level\":\"info\"}", "{\"level\":\"fatal\",\"msg\":\"odd level\"}"])",
      dropped);
  REQUIRE(lines);
  REQUIRE(lines->size() == 2);
  CHECK(lines->at(0).message == "added");
  CHECK(lines->at(0).labels == std::vector<std::pair<std::string, std::string>>{{"count", "3"}, {"pod", "a"}});
  CHECK(lines->at(1).level == log::Level::kWarn);
  CHECK(dropped == 3);
  CHECK_FALSE(parse_log_lines("{}", dropped));
}
