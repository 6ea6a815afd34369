// Kinds of other meshes and tools: kept, not applied, and what would be made of them.
#include "lib/translate/detail/advice.h"
#include "lib/translate/detail/tree.h"

namespace weft::translate::detail {
namespace {

using UntypedItem = Item<manifest::Untyped>;

void service_profile(const UntypedItem& item) {
  const Tree tree(item);
  const auto spec = tree.spec();
  if (item.meta().name.find('.') == std::string::npos)
    item.status->find(Level::kWarning, "Interpreted",
                      "metadata.name: Linkerd wants the full name of a service; taken as Service " + item.meta().name +
                          " of namespace " + item.meta().namespace_);
  bool budget = static_cast<bool>(spec.any("retryBudget"));
  bool retryable = false;
  for (const auto& route : spec.list("routes")) {
    budget |= static_cast<bool>(route.any("retryBudget"));
    retryable |= route.boolean("isRetryable");
  }
  if (budget && !retryable)
    item.status->find(Level::kInfo, "Info",
                      "spec.routes: a retry budget, and no route with isRetryable: nothing is retried");
}

void traffic_split(const World& world, const UntypedItem& item) {
  const Tree tree(item);
  if (item.object->version == "v1alpha1")
    item.status->find(Level::kInfo, "Interpreted",
                      "spec.backends: weights of v1alpha1 are quantities (500m is half of 1); taken relative to each other");
  for (const auto& backend : tree.spec().list("backends")) {
    const auto service = backend.text("service");
    if (service_exists(world, full_host(world, service, item.meta().namespace_))) continue;
    tree.find(Level::kWarning, "ReferenceNotFound", backend.any("service"),
              "no Service " + shown(service) + " in namespace " + item.meta().namespace_ +
                  "; its share would be answered with 503");
  }
}

void service_resolver(const UntypedItem& item) {
  const Tree tree(item);
  for (const auto& [name, subset] : tree.spec().entries("subsets")) {
    const auto field = subset.any("filter");
    const auto text = field.as_text().value_or("");
    if (text.empty() || text.find("Service.Meta.") != text.npos) continue;
    const auto equals = text.find("==");
    const auto label = text.substr(0, std::min(text.find_first_of(" ="), text.size()));
    if (equals == text.npos || label.find_first_of(".()") != label.npos) {
      tree.find(Level::kWarning, "InvalidExpression", field,
                shown(text) + " is no filter that can be read; the subset is empty");
    } else {
      tree.find(Level::kWarning, "Interpreted", field,
                shown(text) + ": Consul selects by Service.Meta." + label + "; taken as the pod label " + shown(label));
    }
  }
}

void service_monitor(const UntypedItem& item) {
  const Tree tree(item);
  const auto spec = tree.spec();
  if (spec.map("selector").map("matchLabels").text("app") != "istiod") return;
  for (const auto& endpoint : spec.list("endpoints")) {
    if (endpoint.text("path") == "/stats/prometheus")
      tree.find(Level::kInfo, "Interpreted", endpoint.any("path"),
                "a path of proxies; a control plane serves /metrics, and the node proxy serves both");
  }
}

}  // namespace

void advise_foreign(World& world) {
  for (const auto& item : world.untyped) {
    if (is_kind(item, "linkerd.io", "ServiceProfile")) service_profile(item);
    if (is_kind(item, "split.smi-spec.io", "TrafficSplit")) traffic_split(world, item);
    if (is_kind(item, "consul.hashicorp.com", "ServiceResolver")) service_resolver(item);
    if (is_kind(item, "monitoring.coreos.com", "ServiceMonitor")) service_monitor(item);
  }
}

}  // namespace weft::translate::detail
