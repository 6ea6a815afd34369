// The access log, as the connections of a small mesh write it: which lines, with which fields in which order, and the texts
// of errors. Ends, levels and order are ztunnel's; logs are parsed by programs.
#include "ztunnel/access_record.h"

#include <catch2/catch_test_macros.hpp>

#include "tests/support/captured_log.h"
#include "ztunnel/test_mesh.h"

using namespace weft;
using namespace weft::ztunnel;
using namespace std::chrono_literals;
using weft::testing::CapturedLog;

namespace {

struct AccessLine {
  std::string level, message;
  std::vector<std::pair<std::string, std::string>> fields;  // in order, quotes kept

  std::string operator[](std::string_view key) const {
    for (const auto& [name, value] : fields)
      if (name == key) return value;
    return "";
  }
  std::string names() const {
    std::string all;
    for (const auto& [name, value] : fields) all += (all.empty() ? "" : " ") + name;
    return all;
  }
};

// The lines of target "access".
std::vector<AccessLine> access_lines(CapturedLog& log) {
  std::vector<AccessLine> found;
  for (const auto& text : log.take()) {
    std::vector<std::string> parts;
    for (std::size_t begin = 0; begin <= text.size();) {
      const auto end = std::min(text.find('\t', begin), text.size());
      parts.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
    if (parts.size() != 5 || parts[2] != "access") continue;
    AccessLine line{parts[1], parts[3], {}};
    for (std::string_view rest = parts[4]; !rest.empty();) {
      const auto equals = rest.find('=');
      auto end = rest.find(' ');
      if (rest[equals + 1] == '"')
        end = rest.find('"', equals + 2) == rest.npos ? rest.npos : rest.find('"', equals + 2) + 1;
      line.fields.emplace_back(rest.substr(0, equals), rest.substr(equals + 1, end == rest.npos ? end : end - equals - 1));
      rest.remove_prefix(end == rest.npos ? rest.size() : std::min(rest.size(), end + 1));
    }
    found.push_back(std::move(line));
  }
  return found;
}

const AccessLine& only(const std::vector<AccessLine>& lines, const std::string& direction) {
  const AccessLine* found = nullptr;
  for (const auto& line : lines) {
    if (line["direction"] != "\"" + direction + "\"") continue;
    REQUIRE(!found);
    found = &line;
  }
  REQUIRE(found);
  return *found;
}

constexpr const char* kTunnelFields =
    "src.addr src.workload src.namespace src.identity src.cluster dst.addr dst.hbone_addr dst.service dst.workload "
    "dst.namespace dst.identity dst.cluster direction bytes_sent bytes_recv duration";

// The error of the one line, whatever its direction, that has one.
std::string error_in(const std::vector<AccessLine>& lines, const std::string& direction) {
  for (const auto& line : lines)
    if (line["direction"] == "\"" + direction + "\"" && !line["error"].empty()) return line["error"];
  return "";
}

struct LoggedWorld : MeshWorld {
  template <typename Do>
  std::vector<AccessLine> during(Do act) {
    CapturedLog log;
    act();
    world.run_for(100ms);
    return access_lines(log);
  }
};

}  // namespace

TEST_CASE("a connection through a service is told by both its ends, each with every field in order") {
  LoggedWorld mesh;
  auto* web = mesh.describe_service("web", "10.96.0.1", {{80, 8080}});
  MeshWorld::join(mesh.objects.workloads[1], *web, {{80, 8080}});
  mesh.publish();
  const auto lines = mesh.during([&] { mesh.ask(*mesh.pod_a, "hello", at("10.96.0.1:80")); });
  REQUIRE(lines.size() == 2);
  for (const auto& line : lines) {
    CHECK(line.level == "info");
    CHECK(line.message == "connection complete");
    CHECK(line.names() == kTunnelFields);
    CHECK(line["src.addr"].starts_with("10.0.0.1:"));
    CHECK(line["src.workload"] == "\"front\"");
    CHECK(line["src.namespace"] == "\"shop\"");
    CHECK(line["src.identity"] == "\"spiffe://cluster.local/ns/shop/sa/front\"");
    CHECK(line["src.cluster"] == "\"Kubernetes\"");
    CHECK(line["dst.addr"] == "10.0.0.2:15008");
    CHECK(line["dst.hbone_addr"] == "10.0.0.2:8080");
    CHECK(line["dst.service"] == "\"web.shop.svc.cluster.local\"");
    CHECK(line["dst.workload"] == "\"cart\"");
    CHECK(line["dst.identity"] == "\"spiffe://cluster.local/ns/shop/sa/cart\"");
    CHECK(line["bytes_sent"] == "5");
    CHECK(line["bytes_recv"] == "5");
    CHECK(line["duration"].ends_with("ms\""));
  }
  only(lines, "outbound");
  only(lines, "inbound");
}

TEST_CASE("plain text is told without identities and without a tunnel's address") {
  LoggedWorld mesh;
  const auto lines = mesh.during([&] { mesh.ask(*mesh.stranger); });
  const auto& line = only(lines, "inbound");
  CHECK(line.names() == "src.addr dst.addr dst.workload dst.namespace dst.cluster direction bytes_sent bytes_recv duration");
  CHECK(line["dst.addr"] == "10.0.0.2:8080");
  mesh.serve(*mesh.stranger, 9);
  const auto out = mesh.during([&] { mesh.ask(*mesh.pod_a, "x", at("10.0.0.3:9")); });
  CHECK(only(out, "outbound").names() ==
        "src.addr src.workload src.namespace src.cluster dst.addr direction bytes_sent bytes_recv duration");
}

TEST_CASE("sent and received are seen from the pod whose proxy tells of it") {
  LoggedWorld mesh;
  const auto lines = mesh.during([&] { mesh.ask_tunnel("10.0.0.2:8080", "0123456789"); });
  CHECK(only(lines, "inbound")["bytes_sent"] == "10");
  CHECK(mesh.count("istio_tcp_received_bytes_total", "reporter=\"destination\"") == 10);
}

TEST_CASE("a connection is told of at debug level when its ends are known") {
  LoggedWorld mesh;
  CapturedLog log("access=debug");
  mesh.ask(*mesh.pod_a);
  const auto lines = access_lines(log);
  std::vector<std::string> messages;
  for (const auto& line : lines) messages.push_back(line.level + " " + line.message);
  std::ranges::sort(messages);
  CHECK(messages == std::vector<std::string>{"debug connection opened", "debug connection opened",
                                             "info connection complete", "info connection complete"});
  for (const auto& line : lines)
    if (line.message == "connection opened") CHECK(line.fields.back().first == "direction");
}

TEST_CASE("a refusal by policy is told with its reason by the receiving end, as a status by the calling one") {
  LoggedWorld mesh;
  mesh.deny(principal_is("front"));
  auto lines = mesh.during([&] { mesh.ask(*mesh.pod_a); });
  CHECK(only(lines, "inbound").level == "error");
  CHECK(only(lines, "inbound").names() ==
        "src.addr src.workload src.namespace src.identity src.cluster dst.addr dst.hbone_addr dst.workload dst.namespace "
        "dst.identity dst.cluster direction bytes_sent bytes_recv duration error");
  CHECK(error_in(lines, "inbound") == "\"connection closed due to policy rejection: explicitly denied by: shop/no\"");
  CHECK(error_in(lines, "outbound") == "\"http status: 401 Unauthorized\"");
  mesh.objects.policies[0].action = model::PolicyAction::kAllow;
  mesh.objects.policies[0].rules = {{{principal_is("nobody")}}};
  mesh.publish();
  lines = mesh.during([&] { mesh.ask(*mesh.pod_a); });
  CHECK(error_in(lines, "inbound") ==
        "\"connection closed due to policy rejection: allow policies exist, but none allowed\"");
}

TEST_CASE("a connection cut by a policy change, or by a drain, says so") {
  Seen staying, plain;
  StopSource stop;
  LoggedWorld mesh;
  mesh.ask_and_stay(*mesh.pod_a, "a", staying, stop.token());
  REQUIRE(mesh.world.run_until([&] { return staying.reply == "a"; }));
  auto lines = mesh.during([&] { mesh.deny(principal_is("front")); });
  CHECK(error_in(lines, "inbound") == "\"connection closed due to policy change\"");
  mesh.ask_and_stay(*mesh.stranger, "a", plain, stop.token());
  REQUIRE(mesh.world.run_until([&] { return plain.reply == "a"; }));
  lines = mesh.during([&] { mesh.stop("cart"); });
  CHECK(error_in(lines, "inbound") == "\"connection closed due to connection drain\"");
  CHECK(mesh.count("istio_tcp_connections_closed_total", "response_flags=\"DENY\"") == 1);
}

TEST_CASE("what is refused before its ends are known is one warning with four fields") {
  LoggedWorld mesh;
  auto early = [&](const std::string& direction, auto act) {
    const auto lines = mesh.during(act);
    const auto& line = only(lines, direction);
    CHECK(line.level == "warn");
    CHECK(line.message == "connection failed");
    CHECK(line.names() == "src.addr dst.addr direction error");
    return line["error"];
  };
  auto tunnel = [&](const std::string& authority) { return [&, authority] { mesh.ask_tunnel(authority); }; };
  CHECK(early("inbound", tunnel("10.0.0.1:80")) == "\"ip mismatch: 10.0.0.2 != 10.0.0.1\"");
  CHECK(early("inbound", tunnel("nonsense")) == "\"no valid authority pseudo header: nonsense\"");
  CHECK(early("inbound", tunnel("10.0.0.2:15001")) == "\"attempted recursive call to ourselves\"");
  CHECK(early("inbound", tunnel("no.such.host:80")) == "\"no service or workload for hostname: no.such.host\"");
  CHECK(early("inbound", [&] {
          mesh.ask_tunnel({{":method", "GET"}, {":scheme", "https"}, {":authority", "10.0.0.2:80"}, {":path", "/"}});
        }) == "\"expected method CONNECT, got GET\"");
  CHECK(early("inbound", [&] { mesh.ask(*mesh.stranger, "x", {ip("10.0.0.2"), kInboundPlaintextPort}); }) ==
        "\"attempted recursive call to ourselves\"");
  mesh.pod_b->redirect_output(
      [](const sim::Flow& flow) { return flow.mark == 1337 ? std::nullopt : std::optional(kInboundPlaintextPort); });
  CHECK(early("inbound", [&] { mesh.ask(*mesh.pod_b, "x", at("127.0.0.2:8080")); }) ==
        "\"destination is not the address of a host\"");
  CHECK(early("inbound", [&] {
          mesh.ask(*mesh.stranger, "GET / HTTP/1.1\r\n\r\n", {ip("10.0.0.2"), kHbonePort});
        }).starts_with("\"tls handshake error: "));
  CHECK(early("inbound", [&] {
          mesh.ask_tunnel({{":method", "CONNECT"}, {":authority", "10.0.0.2:8080"}}, "", {"other.domain", "shop", "front"});
        }).starts_with("\"identity verification error: peer did not present the expected trustdomain (cluster.local)"));

  mesh.describe_service("web", "10.96.0.1", {{80, 8080}});
  mesh.publish();
  CHECK(early("outbound", [&] { mesh.ask(*mesh.pod_a, "x", at("10.96.0.1:80")); }) ==
        "\"no healthy upstream: 10.96.0.1:80\"");
  CHECK(early("inbound", tunnel("web.shop.svc.cluster.local:81")) ==
        "\"requested service web.shop.svc.cluster.local:81 found, but cannot resolve port\"");
  mesh.objects.workloads[1].waypoint = model::GatewayAddress{model::NamespacedHostname{"shop", "none.example"}, 15008};
  mesh.publish();
  CHECK(early("outbound", [&] { mesh.ask(*mesh.pod_a); }) == "\"unknown waypoint: waypoint shop/none.example not found\"");
  auto& host = mesh.add_pod_host("nobody", {ip("10.0.0.6")});
  mesh.start(mesh.a, "nobody", host);
  CHECK(early("outbound", [&] { mesh.ask(host); }) ==
        "\"failed to fetch information about local workload: nobody.shop (nobody)\"");
}

TEST_CASE("errors on the way to a destination have ztunnel's texts") {
  LoggedWorld mesh;
  auto lines = mesh.during([&] { mesh.ask(*mesh.pod_a, "x", at("10.0.0.3:9")); });
  CHECK(error_in(lines, "outbound").starts_with("\"io error: "));
  lines = mesh.during([&] { mesh.ask(*mesh.pod_a, "x", at("10.0.0.2:9")); });
  CHECK(error_in(lines, "outbound") == "\"http status: 503 Service Unavailable\"");
  CHECK(error_in(lines, "inbound").starts_with("\"connection failed: "));
  mesh.describe("ghost", {ip("10.0.0.2")}, "node-b");  // the mesh expects another pod at cart's address
  mesh.publish();
  lines = mesh.during([&] { mesh.ask(*mesh.pod_a); });
  CHECK(error_in(lines, "outbound")
            .starts_with("\"identity verification error: peer did not present the expected SAN "
                         "(spiffe://cluster.local/ns/shop/sa/ghost), got spiffe://cluster.local/ns/shop/sa/cart"));
  mesh.source.available = false;
  mesh.objects.workloads[0].service_account = "newcomer";
  mesh.publish();
  mesh.stop("front");
  REQUIRE(mesh.try_start(mesh.a, "front", "newcomer", *mesh.pod_a));
  lines = mesh.during([&] { mesh.ask(*mesh.pod_a); });
  CHECK(error_in(lines, "outbound") == "\"identity error: authority is away\"");
}

TEST_CASE("a tunnel port that does not answer is told as a network policy's doing") {
  LoggedWorld mesh;
  mesh.add_silent_host("mute", {ip("10.0.0.8")}, kHbonePort);
  mesh.describe("mute", {ip("10.0.0.8")}, "node-z");
  mesh.publish();
  const auto lines = mesh.during([&] { mesh.ask(*mesh.pod_a, "x", at("10.0.0.8:80")); });
  CHECK(error_in(lines, "outbound") ==
        "\"connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008: deadline has elapsed\"");
}

TEST_CASE("a peer that does not answer a tunnel's request is told as that") {
  LoggedWorld mesh;
  mesh.serve_tunnels(mesh.add_host("mute", {ip("10.0.0.8")}), kHbonePort, identity_of("mute")).answers_after = 24h;
  mesh.describe("mute", {ip("10.0.0.8")}, "node-z");
  mesh.publish();
  const auto lines = mesh.during([&] { mesh.ask(*mesh.pod_a, "x", at("10.0.0.8:80")); });
  CHECK(error_in(lines, "outbound") == "\"the tunnel request was not answered: deadline has elapsed\"");
}

TEST_CASE("denied connections are told up to a rate, the first of each address always, and all of them counted") {
  LoggedWorld mesh;
  auto& neighbour = mesh.add_host("neighbour", {ip("10.0.0.9")});
  mesh.deny(kPlainText);
  const auto told_of = [](const std::vector<AccessLine>& lines, const std::string& address) {
    return std::count_if(lines.begin(), lines.end(), [&](AccessLine line) {
      return line["src.addr"].starts_with(address) && line["error"].find("policy rejection") != std::string::npos;
    });
  };
  int asked = 0;
  std::uint64_t told = 0;
  const auto begun = mesh.world.clock().monotonic();
  for (int part = 0; part < 20; ++part) {
    const auto lines = mesh.during([&] {
      for (int i = 0; i < 40; ++i, ++asked) CHECK(mesh.ask(*mesh.stranger).error);
    });
    told += static_cast<std::uint64_t>(told_of(lines, "10.0.0.3:"));
  }
  const auto seconds = std::chrono::duration<double>(mesh.world.clock().monotonic() - begun).count();
  CHECK(told >= 200);
  CHECK(static_cast<double>(told) <= 200 + 5 * (1 + seconds / 60) + 20 * seconds);
  const auto unwritten = mesh.count("weft_limits_exceeded_total", "reason=\"log_lines\"");
  CHECK(told + unwritten == static_cast<std::uint64_t>(asked));
  CHECK(unwritten > 100);
  CHECK(mesh.count("istio_tcp_connections_closed_total", "response_flags=\"DENY\"") == static_cast<std::uint64_t>(asked));
  // Another one's first are told in the middle of it.
  const auto lines = mesh.during([&] {
    for (int i = 0; i < 3; ++i) {
      CHECK(mesh.ask(neighbour).error);
      for (int j = 0; j < 20; ++j) CHECK(mesh.ask(*mesh.stranger).error);
    }
  });
  CHECK(told_of(lines, "10.0.0.9:") == 3);
}
