#include "ztunnel/traffic.h"

#include <catch2/catch_test_macros.hpp>

#include "ztunnel/inbound/proxy_header.h"

using namespace weft;
using namespace weft::ztunnel;

namespace {

std::string written(const telemetry::Labels& labels) {
  std::string text;
  for (const auto& [name, value] : labels) text += std::string(name) + "=" + value + "\n";
  return text;
}

model::WorkloadPtr make_workload() {
  model::Workload w;
  w.name = "web-0";
  w.namespace_name = "shop";
  w.trust_domain = "cluster.local";
  w.service_account = "web";
  w.workload_name = "web";
  w.canonical_name = "web-canonical";
  w.canonical_revision = "v1";
  w.cluster_id = "Kubernetes";
  w.locality = {"eu", "eu-a", ""};
  return std::make_shared<const model::Workload>(std::move(w));
}

}  // namespace

TEST_CASE("labels have ztunnel's names, order and values") {
  model::Service service;
  service.name = "web";
  service.namespace_name = "shop";
  service.hostname = "web.shop.svc.cluster.local";
  const Parties parties{
      .reporter = Reporter::kDestination,
      .source_baggage = {.cluster = "c2", .namespace_name = "front", .workload_name = "w", .canonical_name = "cn"},
      .source_identity = model::Identity{"cluster.local", "front", "f"},
      .destination = make_workload(),
      .service = std::make_shared<const model::Service>(service),
      .mutual_tls = true};
  CHECK(written(traffic_labels(parties, ResponseFlag::kDeny)) ==
        "reporter=destination\n"
        "source_workload=w\n"
        "source_canonical_service=cn\n"
        "source_canonical_revision=unknown\n"
        "source_workload_namespace=front\n"
        "source_principal=spiffe://cluster.local/ns/front/sa/f\n"
        "source_app=w\n"
        "source_version=unknown\n"
        "source_cluster=c2\n"
        "destination_service=web.shop.svc.cluster.local\n"
        "destination_service_namespace=shop\n"
        "destination_service_name=web\n"
        "destination_workload=web\n"
        "destination_canonical_service=web-canonical\n"
        "destination_canonical_revision=v1\n"
        "destination_workload_namespace=shop\n"
        "destination_principal=spiffe://cluster.local/ns/shop/sa/web\n"
        "destination_app=web-canonical\n"
        "destination_version=v1\n"
        "destination_cluster=Kubernetes\n"
        "request_protocol=tcp\n"
        "response_flags=DENY\n"
        "connection_security_policy=mutual_tls\n"
        "source_region=unknown\n"
        "source_zone=unknown\n"
        "destination_region=eu\n"
        "destination_zone=eu-a\n");
}

TEST_CASE("a connection between strangers has no locality") {
  const auto labels = traffic_labels({}, ResponseFlag::kNone);
  CHECK(labels.size() == 23);
  CHECK(written(labels).find("connection_security_policy=unknown") != std::string::npos);
}

TEST_CASE("one pair shares its samples, another response flag does not") {
  telemetry::Registry registry;
  TrafficFamilies families(registry);
  TrafficMetrics metrics(families);
  const auto workload = make_workload();
  const Parties parties{.source = workload, .destination = workload};
  CHECK(metrics.series(parties).opened == metrics.series(parties).opened);
  metrics.count_failure(parties, ResponseFlag::kConnect);
  CHECK(metrics.series(parties).closed->value() == 0);
}

TEST_CASE("the PROXY header has both addresses and the caller's identity") {
  const auto address = [](const char* text) { return SocketAddress::parse(text).value(); };
  const auto plain = make_proxy_header(address("10.0.0.1:258"), address("10.0.0.2:80"), std::nullopt).to_string();
  CHECK(plain == std::string("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\x01\x0a\0\0\x02\x01\x02\0\x50", 28));
  const auto known =
      make_proxy_header(address("[fd00::1]:1"), address("10.0.0.2:80"), model::Identity{"t", "n", "s"}).to_string();
  CHECK(known[13] == 0x21);
  CHECK(known.substr(16 + 36, 3) == std::string("\xd0\0\x14", 3));
  CHECK(known.substr(16 + 39) == "spiffe://t/ns/n/sa/s");
  CHECK(known.size() == 16u + 36 + 3 + 20);
}
