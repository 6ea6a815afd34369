#include <catch2/catch_test_macros.hpp>
#include <map>

#include "cni-plugin/plugin/agent_client.h"
#include "cni-plugin/plugin/cni_result.h"
#include "cni-plugin/plugin/command.h"
#include "cni-plugin/plugin/enroll.h"
#include "cni-plugin/plugin/json.h"
#include "cni-plugin/plugin/network_config.h"
#include "lib/manifest/parse.h"

using namespace weft;
using namespace weft::cni::plugin;
using translate::Enrolment;

namespace {

Environment environment(std::string command) {
  return {.command = std::move(command),
          .container_id = "c1",
          .netns = "/run/netns/x",
          .netns_override = "",
          .interface = "eth0",
          .args = "",
          .path = "/opt/cni/bin"};
}

int code_of(Command command, const Environment& environment, std::string_view config) {
  auto call = read_call(command, environment, config);
  return call ? 0 : call.error().code;
}

Json converted(const char* previous, const char* version) {
  const auto config = std::string(R"({"cniVersion":")") + version + R"(","name":"n","prevResult":)" + previous + "}";
  auto result = read_previous_result(config, version);
  INFO((result ? "" : result.error().message()));
  REQUIRE(result);
  CHECK(result->has_previous);
  return Json::parse(result->text);
}

constexpr const char* kGood = R"({"cniVersion":"1.0.0","name":"n"})";

}  // namespace

TEST_CASE("a variable that a command needs and lacks is named") {
  auto add = environment("ADD");
  CHECK(read_command(add));
  add.netns = add.path = "";
  CHECK(read_command(add).error().code == 4);
  CHECK(read_command(add).error().message == "required env variables [CNI_NETNS,CNI_PATH] missing");
  auto del = environment("DEL");
  del.netns = "";
  CHECK(read_command(del));
  del.interface = "";
  CHECK(read_command(del).error().message == "required env variables [CNI_IFNAME] missing");
  CHECK(read_command({.command = "STATUS", .path = "/opt"}));
  CHECK(read_command({.command = "GC"}).error().code == 4);
  CHECK(read_command({.command = "VERSION"}));
  CHECK(read_command({.command = "FROB", .path = "/opt"}).error().message == "unknown CNI_COMMAND: FROB");
  CHECK(read_command({}).error().code == 4);
}

TEST_CASE("what is wrong with a call has the code runtimes expect") {
  const auto add = environment("ADD");
  CHECK(code_of(Command::kAdd, add, kGood) == 0);
  for (const char* text : {"", "{", "[]", "3", "null", R"({"name":3})", R"({"name":"n","cniVersion":1})", "\xff", "{}{}"}) {
    INFO(text);
    CHECK(code_of(Command::kAdd, add, text) == 6);
  }
  for (const char* text : {"{}", R"({"name":""})", R"({"name":"a/b"})", R"({"name":"-a"})"}) {
    INFO(text);
    CHECK(code_of(Command::kAdd, add, text) == 7);
  }
  for (const char* version : {"9.9.9", "1.2.0", "0.5.0", "1.0", "x"}) {
    CHECK(code_of(Command::kAdd, add, std::string(R"({"name":"n","cniVersion":")") + version + "\"}") == 1);
  }
  for (const char* id : {"../x", "a b", "-a", ""}) {
    auto bad = add;
    bad.container_id = id;
    CHECK(code_of(Command::kAdd, bad, kGood) == 4);
  }
  for (const char* name : {"..", ".", "a/b", "a:b", "a b", "sixteen-letters-"}) {
    auto bad = add;
    bad.interface = name;
    CHECK(code_of(Command::kDel, bad, kGood) == 4);
  }
}

TEST_CASE("every released version is accepted; an absent one is the first; newer commands need newer versions") {
  const auto any = environment("ADD");
  for (const auto version : kVersions) {
    const auto config = R"({"name":"n","cniVersion":")" + std::string(version) + "\"}";
    CHECK(read_call(Command::kAdd, any, config)->version == version);
    CHECK(code_of(Command::kCheck, any, config) == (version < "0.4.0" ? 1 : 0));
    CHECK(code_of(Command::kStatus, any, config) == (version < "1.1.0" ? 1 : 0));
    CHECK(code_of(Command::kGc, any, config) == (version < "1.1.0" ? 1 : 0));
    CHECK(code_of(Command::kDel, any, config) == 0);
  }
  CHECK(read_call(Command::kAdd, any, R"({"name":"n"})")->version == "0.1.0");
  const auto answer = Json::parse(versions_json());
  CHECK(answer["cniVersion"] == "1.1.0");
  CHECK(answer["supportedVersions"].size() == 7);
}

TEST_CASE("an error is printed as an object, details only when there are some") {
  CHECK(to_json(CniError{7, "missing network name", ""}) ==
        "{\n    \"code\": 7,\n    \"msg\": \"missing network name\"\n}\n");
  CHECK(Json::parse(to_json(CniError{1, "a\"\n\xff", "d"}))["details"] == "d");
}

TEST_CASE("arguments of Kubernetes are read, unknown ones only when told to ignore them") {
  const auto good = read_arguments("IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=p;K8S_POD_UID=u;OTHER=x");
  REQUIRE(good);
  CHECK(good->pod_name == "p");
  CHECK(good->pod_namespace == "ns");
  CHECK(good->pod_uid == "u");
  CHECK(read_arguments(""));
  CHECK(read_arguments("OTHER=x;IgnoreUnknown=true"));
  for (const char* bad : {"OTHER=x", "K8S_POD_NAME", "IgnoreUnknown=2", "A=B=C", "IgnoreUnknown=0;OTHER=x", ";"}) {
    INFO(bad);
    REQUIRE_FALSE(read_arguments(bad));
    CHECK(read_arguments(bad).error().code == 999);
    CHECK(read_arguments(bad).error().message.starts_with("ARGS: "));
  }
}

TEST_CASE("the network configuration is read, and what has the wrong shape is named") {
  const auto config = read_network_config(R"({"name":"n","ambient_enabled":true,"cni_agent_run_dir":"/r","manifest_dir":"/m",
    "exclude_namespaces":["a","b"],"pod_namespace":"p","plugin_log_level":"debug","enable_ambient_detection_retry":true,
    "enablement_selectors":[{"podSelector":{"matchExpressions":[{"key":"k","operator":"NotIn","values":["v"]}]}}, {}],
    "kubernetes":{"x":1},"ipam":{},"dns":{}})");
  REQUIRE(config);
  CHECK(config->ambient_enabled);
  CHECK(config->detection_retry);
  CHECK(config->agent_run_dir == "/r");
  CHECK(config->manifest_dir == "/m");
  CHECK(config->exclude_namespaces == std::set<std::string>{"a", "b"});
  REQUIRE(config->enablement.size() == 2);
  CHECK(config->enablement[0].pod.expressions[0].op == "NotIn");
  CHECK(config->enablement[1].pod.empty());

  const auto least = read_network_config("{}");
  REQUIRE(least);
  CHECK(least->agent_run_dir == "/var/run/istio-cni");
  CHECK(least->enablement.size() == 2);
  CHECK(read_network_config(R"({"exclude_namespaces":null,"enablement_selectors":null})")->enablement.size() == 2);
  CHECK(read_network_config(R"({"enablement_selectors":[]})")->enablement.empty());

  const std::map<std::string, std::string> bad{
      {R"({"ambient_enabled":"maybe"})", "ambient_enabled"},
      {R"({"exclude_namespaces":"a"})", "exclude_namespaces"},
      {R"({"cni_agent_run_dir":{}})", "cni_agent_run_dir"},
      {R"({"enablement_selectors":["x"]})", "enablement_selectors[0]"},
      {R"({"enablement_selectors":[{"podSelector":{"matchExpressions":[{"key":"k","operator":"Is"}]}}]})", "\"Is\""},
      {"[]", "not an object"},
  };
  for (const auto& [text, named] : bad) {
    INFO(text);
    REQUIRE_FALSE(read_network_config(text));
    CHECK(read_network_config(text).error().message().find(named) != std::string::npos);
  }
}

TEST_CASE("a result of the same version is handed on as it is, unknown fields and all") {
  const char* previous = R"({"cniVersion":"1.0.0","interfaces":[{"name":"eth0","mac":"aa","sandbox":"/n"}],
    "ips":[{"interface":0,"address":"10.0.0.5/24","gateway":"10.0.0.1"},{"address":"fd00::5/64"}],
    "routes":[{"dst":"0.0.0.0/0"}],"dns":{"nameservers":["10.0.0.10"]},"mine":{"x":[1,2.5]}})";
  CHECK(converted(previous, "1.0.0") == Json::parse(previous));

  const auto result = read_previous_result(std::string(R"({"prevResult":)") + previous + "}", "1.0.0");
  REQUIRE(result->addresses.size() == 2);
  CHECK(result->addresses[0].interface == 0);
  CHECK(result->addresses[0].address.to_string() == "10.0.0.5/24");
  CHECK(result->addresses[0].gateway->to_string() == "10.0.0.1");
  CHECK_FALSE(result->addresses[1].interface);
  CHECK_FALSE(result->addresses[1].gateway);
}

TEST_CASE("without a previous result an empty one of the version is printed") {
  for (const char* config : {"{}", R"({"prevResult":null})"}) {
    const auto result = read_previous_result(config, "0.4.0");
    REQUIRE(result);
    CHECK_FALSE(result->has_previous);
    CHECK(Json::parse(result->text)["cniVersion"] == "0.4.0");
  }
}

TEST_CASE("results are converted between versions") {
  const char* wide = R"({"cniVersion":"1.1.0","interfaces":[{"name":"eth0","mtu":1500,"pciID":"p","socketPath":"s"}],
    "ips":[{"interface":0,"address":"10.0.0.5/24","gateway":"10.0.0.1"},{"address":"fd00::5/64"}],
    "routes":[{"dst":"0.0.0.0/0","mtu":1400,"table":1},{"dst":"::/0","gw":"fd00::1","scope":0}],"dns":{"domain":"d"}})";
  const auto list = converted(wide, "1.0.0");
  CHECK(list["interfaces"] == Json::parse(R"([{"name":"eth0"}])"));
  CHECK(list["routes"] == Json::parse(R"([{"dst":"0.0.0.0/0"},{"dst":"::/0","gw":"fd00::1"}])"));
  CHECK(list["ips"] == Json::parse(wide)["ips"]);

  const auto tagged = converted(wide, "0.3.1");
  CHECK(tagged["cniVersion"] == "0.3.1");
  CHECK(tagged["ips"][0]["version"] == "4");
  CHECK(tagged["ips"][1]["version"] == "6");
  CHECK(tagged["ips"][0]["gateway"] == "10.0.0.1");

  const auto families = converted(wide, "0.2.0");
  CHECK(families == Json::parse(R"({"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.5/24","gateway":"10.0.0.1",
    "routes":[{"dst":"0.0.0.0/0"}]},"ip6":{"ip":"fd00::5/64","routes":[{"dst":"::/0","gw":"fd00::1"}]},"dns":{"domain":"d"}})"));

  const auto back = converted(families.dump().c_str(), "1.0.0");
  CHECK(back["ips"] == Json::parse(R"([{"address":"10.0.0.5/24","gateway":"10.0.0.1"},{"address":"fd00::5/64"}])"));
  CHECK(back["routes"].size() == 2);
  CHECK(back["dns"]["domain"] == "d");
  CHECK(converted(tagged.dump().c_str(), "1.0.0")["ips"] == list["ips"]);
  CHECK(converted(tagged.dump().c_str(), "0.4.0")["ips"] == tagged["ips"]);
  // A result without a version is read as one of the configuration's.
  CHECK(converted(R"({"ips":[{"address":"10.0.0.5/24"}]})", "1.0.0")["cniVersion"] == "1.0.0");
}

TEST_CASE("a previous result that makes no sense is an error") {
  for (const char* previous :
       {"[]", "3", R"({"cniVersion":"7.0.0"})", R"({"cniVersion":1})", R"({"ips":{}})", R"({"ips":[1]})",
        R"({"ips":[{"address":"10.0.0.5"}]})", R"({"ips":[{"address":"10.0.0.5/33"}]})", R"({"ips":[{"address":5}]})",
        R"({"ips":[{"address":"10.0.0.5/24","gateway":"x"}]})", R"({"ips":[{"address":"10.0.0.5/24","interface":"a"}]})",
        R"({"ips":[{"address":"10.0.0.5/24","interface":99999999999}]})", R"({"routes":"x"})", R"({"interfaces":[1]})"}) {
    INFO(previous);
    CHECK_FALSE(read_previous_result(std::string(R"({"prevResult":)") + previous + "}", "1.0.0"));
  }
  const auto deep = R"({"name":"n","prevResult":)" + std::string(100000, '[') + std::string(100000, ']') + "}";
  CHECK_FALSE(read_previous_result(deep, "1.0.0"));
  CHECK_FALSE(read_network_config(deep));
  CHECK(code_of(Command::kAdd, environment("ADD"), deep) == 6);
}

TEST_CASE("who is in the mesh") {
  const auto objects = manifest::parse(R"(
apiVersion: v1
kind: Namespace
metadata: {name: in, labels: {istio.io/dataplane-mode: ambient}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: out}}
---
{apiVersion: v1, kind: Pod, metadata: {name: plain, namespace: in}}
---
{apiVersion: v1, kind: Pod, metadata: {name: none, namespace: in, labels: {istio.io/dataplane-mode: none}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: successor, namespace: in, uid: u-1, labels: {istio.io/dataplane-mode: none}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: static, namespace: in, uid: u-3, annotations: {kubernetes.io/config.mirror: hash-1}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: host, namespace: in}, spec: {hostNetwork: true}}
---
{apiVersion: v1, kind: Pod, metadata: {name: sidecar, namespace: in, annotations: {sidecar.istio.io/status: x}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: plain, namespace: out}}
---
{apiVersion: v1, kind: Pod, metadata: {name: asked, namespace: out, labels: {istio.io/dataplane-mode: ambient}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: lonely, namespace: nowhere}}
---
{apiVersion: v1, kind: Pod, metadata: {name: asked, namespace: nowhere, labels: {istio.io/dataplane-mode: ambient}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: none, namespace: nowhere, labels: {istio.io/dataplane-mode: none}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: twice, namespace: out, labels: {istio.io/dataplane-mode: ambient}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: twice, namespace: out}}
)",
                                       "state.yaml")
                           .objects;
  const auto who = [&](const char* space, const char* name, const char* uid = "") {
    return decide(objects, {.pod_name = name, .pod_namespace = space, .container_id = {}, .pod_uid = uid},
                  translate::default_enablement_selectors());
  };
  CHECK(*who("in", "plain") == Enrolment::kYes);
  CHECK(*who("in", "none") == Enrolment::kOptedOut);
  CHECK(*who("in", "host") == Enrolment::kHostNetwork);
  CHECK(*who("in", "sidecar") == Enrolment::kSidecar);
  CHECK(*who("out", "plain") == Enrolment::kNotSelected);
  CHECK(*who("out", "asked") == Enrolment::kYes);
  CHECK(*who("nowhere", "lonely") == Enrolment::kUndecided);
  CHECK(*who("nowhere", "asked") == Enrolment::kYes);
  CHECK(*who("nowhere", "none") == Enrolment::kOptedOut);
  CHECK(*who("out", "twice") == Enrolment::kNotSelected);
  CHECK(who("in", "missing").error().code() == ErrorCode::kNotFound);
  CHECK(who("out", "none").error().message() == "pod out/none is not known");

  // An object of that name with another UID is an earlier pod, whatever it says.
  CHECK(*who("in", "successor", "u-1") == Enrolment::kOptedOut);
  CHECK(*who("in", "successor") == Enrolment::kOptedOut);
  CHECK(who("in", "successor", "u-2").error().code() == ErrorCode::kNotFound);
  CHECK(who("in", "successor", "u-2").error().message() ==
        "pod in/successor with UID u-2 is not known: the one of that name has u-1");
  CHECK(*who("in", "plain", "u-2") == Enrolment::kYes);
  CHECK(*who("in", "static", "hash-1") == Enrolment::kYes);
  CHECK(who("in", "static", "hash-2").error().code() == ErrorCode::kNotFound);

  CHECK(is_node_agent("istio-cni-node-abc", "istio-system", "istio-system"));
  CHECK_FALSE(is_node_agent("istio-cni-node-abc", "other", "istio-system"));
  CHECK_FALSE(is_node_agent("web", "istio-system", "istio-system"));
  CHECK_FALSE(is_node_agent("istio-cni-node-abc", "", ""));
}

TEST_CASE("the event to the agent has the form of istio-cni") {
  PodEvent event{.netns = "/var/run/netns/cni-1", .pod_name = "p", .pod_namespace = "ns", .has_addresses = true};
  event.addresses.push_back({0, *Cidr::parse("10.244.0.5/24"), *IpAddress::parse("10.244.0.1")});
  event.addresses.push_back({std::nullopt, *Cidr::parse("fd00::5/61"), std::nullopt});
  CHECK(Json::parse(to_json(event)) ==
        Json::parse(R"({"Netns":"/var/run/netns/cni-1","PodName":"p","PodNamespace":"ns","IPs":[
    {"Interface":0,"Address":{"IP":"10.244.0.5","Mask":"////AA=="},"Gateway":"10.244.0.1"},
    {"Interface":null,"Address":{"IP":"fd00::5","Mask":"//////////gAAAAAAAAAAA=="},"Gateway":""}]})"));
  CHECK(Json::parse(to_json(PodEvent{}))["IPs"].is_null());
}

TEST_CASE("replies are read however they are cut and framed") {
  const auto whole = [](std::string_view text, bool at_end) { return parse_reply(text, at_end); };
  const std::string refusal = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 7\r\n\r\nno room";
  for (std::size_t size = 0; size < refusal.size(); ++size) {
    auto part = whole(refusal.substr(0, size), false);
    REQUIRE(part);
    CHECK_FALSE(*part);
  }
  const auto reply = whole(refusal, false);
  REQUIRE((reply && *reply));
  CHECK((*reply)->status == 500);
  CHECK((*reply)->reason == "Internal Server Error");
  CHECK((*reply)->body == "no room");

  CHECK((*whole("HTTP/1.1 200 OK\r\n\r\n", false))->status == 200);
  CHECK((*whole("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", false))->status == 200);
  CHECK((*whole("HTTP/1.0 503 x\r\n\r\nuntil the end", true))->body == "until the end");
  const std::string chunks = "HTTP/1.1 500 x\r\ntransfer-encoding: chunked\r\n\r\n4;a=b\r\nno r\r\n3\r\noom\r\n0\r\n\r\n";
  CHECK((*whole(chunks, false))->body == "no room");
  CHECK_FALSE(*whole(chunks.substr(0, chunks.size() - 10), false));
  CHECK((*whole("HTTP/1.1 500 x\r\n\r\n" + std::string(5 << 20, 'x'), false))->body.size() == kReplyBodyMax);

  for (const char* bad :
       {"SSH-2.0-x\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/2 200 OK\r\n\r\n", "\r\n\r\n", "HTTP/1.1 20\r\n\r\n"}) {
    INFO(bad);
    CHECK_FALSE(whole(bad, false));
  }
  CHECK_FALSE(whole("HTTP/1.1 200", true));
  CHECK_FALSE(whole(std::string(kReplyHeadMax + 1, 'x'), false));
}
