// libFuzzer target: questions that anybody on a node's loopback may send. Whatever the line is, one line of JSON answers it,
// the same each time.
#include "lib/explain/explain.h"

#include <cstdint>
#include <nlohmann/json.hpp>

#include "lib/base/check.h"
#include "lib/model/test_objects.h"

namespace {

weft::explain::Facts small_mesh() {
  using namespace weft;
  model::MeshObjects objects;
  auto web = model::service("shop", "web", "10.9.0.1");
  auto first = model::pod("shop", "web-1", "10.0.0.1"), second = model::pod("shop", "web-2", "10.0.0.2");
  objects.workloads = {model::join(first, web), model::join(second, web),
                       model::pod("outside", "plain", "10.0.0.3", model::TunnelProtocol::kNone)};
  objects.services = {web};
  model::Policy policy{.name = "callers", .namespace_name = "shop"};
  model::Match shop;
  shop.namespaces = {{model::StringMatch::Kind::kPrefix, "sh"}};
  policy.rules = {{{shop}}};
  objects.policies = {policy};
  return {.snapshot = model::mesh(std::move(objects)),
          .cluster_id = "Kubernetes",
          .cluster_domain = "cluster.local",
          .hbone_port = 15008,
          .is_own_port = [](std::uint16_t port) { return port == 15008; }};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weft;
  static const auto facts = small_mesh();
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  const auto answer = explain::explain_line(facts, line);
  WEFT_CHECK(answer.find('\n') == answer.npos);
  const auto json = nlohmann::json::parse(answer, nullptr, false);
  WEFT_CHECK(json.is_object() && json.contains("id"));
  WEFT_CHECK(json.contains("error") != json.contains("decision"));
  WEFT_CHECK(answer == explain::explain_line(facts, line));
  return 0;
}
