// VirtualService, DestinationRule, Istio's Gateway and Sidecar: what they refer to, what they take for granted, and that no
// HTTP proxy of this mesh acts on them yet.
#include <charconv>
#include <set>

#include "lib/translate/detail/advice.h"
#include "lib/translate/detail/tree.h"

namespace weft::translate::detail {
namespace {

using manifest::Reader;
using UntypedItem = Item<manifest::Untyped>;

constexpr const char* kGroup = "networking.istio.io";
constexpr const char* kHttpOnly =
    "acts in HTTP proxies only, and no waypoint of this mesh serves it yet; connections go to any pod of the service";

// Retry conditions of Envoy, and gRPC's.
constexpr std::string_view kRetryOn[] = {"5xx",
                                         "gateway-error",
                                         "reset",
                                         "reset-before-request",
                                         "connect-failure",
                                         "envoy-ratelimited",
                                         "retriable-4xx",
                                         "refused-stream",
                                         "retriable-status-codes",
                                         "retriable-headers",
                                         "http3-post-connect-failure",
                                         "cancelled",
                                         "deadline-exceeded",
                                         "internal",
                                         "resource-exhausted",
                                         "unavailable"};

bool is_retry_condition(std::string_view word) {
  if (std::find(std::begin(kRetryOn), std::end(kRetryOn), word) != std::end(kRetryOn)) return true;
  int status = 0;
  auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), status);
  return error == std::errc() && end == word.data() + word.size() && status >= 100 && status <= 599;
}

// Subsets by host, from all DestinationRules.
using Subsets = std::map<std::string, std::set<std::string>>;

Subsets subsets_of(const World& world) {
  Subsets out;
  for (const auto& item : world.untyped) {
    if (!is_kind(item, kGroup, "DestinationRule")) continue;
    const Tree tree(item);
    const auto spec = tree.spec();
    auto& names = out[full_host(world, spec.text("host"), item.meta().namespace_)];
    for (const auto& subset : spec.list("subsets")) names.insert(subset.text("name"));
  }
  return out;
}

class VirtualServiceAdvice {
 public:
  VirtualServiceAdvice(const World& world, const Subsets& subsets, const UntypedItem& item)
      : world_(world), subsets_(subsets), item_(item), tree_(item) {}

  void advise() {
    const auto spec = tree_.spec();
    gateways(spec);
    for (const char* kind : {"http", "tls", "tcp"}) {
      for (const auto& rule : spec.list(kind)) {
        for (const auto& route : rule.list("route")) destination(route.map("destination"));
      }
    }
    for (const auto& rule : spec.list("http")) {
      destination(rule.map("mirror"));
      for (const auto& mirror : rule.list("mirrors")) destination(mirror.map("destination"));
      if (rule.any("mirror") && rule.any("mirrors"))
        tree_.find(Level::kError, "InvalidValue", rule.any("mirror"), "mirror and mirrors exclude each other");
      retries(rule.map("retries"));
    }
  }

 private:
  void gateways(const Reader& spec) {
    std::string named;
    bool mesh = !spec.any("gateways");
    for (const auto& gateway : spec.list("gateways")) {
      const auto name = gateway.as_text().value_or("");
      if (name == "mesh") {
        mesh = true;
        continue;
      }
      named += (named.empty() ? "" : ", ") + name.substr(0, 100);
      const auto slash = name.find('/');
      const auto ns = slash == name.npos ? item_.meta().namespace_ : name.substr(0, slash);
      const auto own_name = std::string_view(name).substr(slash == name.npos ? 0 : slash + 1);
      if (!world_.untyped_names.contains({kGroup, "Gateway", ns, own_name}))
        tree_.find(Level::kWarning, "ReferenceNotFound", gateway, "no Gateway " + shown(name) + " in namespace " + ns);
    }
    if (mesh) {
      item_.status->find(Level::kWarning, "NoWaypoint", kHttpOnly);
    } else {
      tree_.find(Level::kWarning, "NoMatchingWorkloads", spec.any("gateways"),
                 "no gateway proxy of this mesh serves " + named + " yet; nothing is routed by it");
    }
  }

  void destination(const Reader& destination) {
    const auto subset = destination.text("subset");
    if (subset.empty()) return;
    const auto host = full_host(world_, destination.text("host"), item_.meta().namespace_);
    const auto found = subsets_.find(host);
    if (found != subsets_.end() && found->second.contains(subset)) return;
    tree_.find(Level::kError, "ReferenceNotFound", destination.any("subset"),
               "no DestinationRule defines subset " + shown(subset) + " of host " + shown(host) +
                   "; a waypoint answers requests for it with 503, never from other pods");
  }

  void retries(const Reader& retries) {
    const auto field = retries.any("retryOn");
    const auto text = field.as_text().value_or("");
    for (std::size_t begin = 0; begin < text.size();) {
      const auto end = std::min(text.find(',', begin), text.size());
      auto word = text.substr(begin, end - begin);
      begin = end + 1;
      std::erase(word, ' ');
      if (!word.empty() && !is_retry_condition(word))
        tree_.find(Level::kWarning, "FieldIgnored", field, shown(word) + " is no retry condition; ignored");
    }
  }

  const World& world_;
  const Subsets& subsets_;
  const UntypedItem& item_;
  const Tree tree_;
};

void traffic_policy(const Tree& tree, const Reader& policy) {
  const auto outlier = policy.map("outlierDetection");
  if (!outlier) return;
  const auto gateway = outlier.text("consecutiveGatewayErrors");
  if (!gateway.empty() && gateway == outlier.text("consecutive5xxErrors"))
    tree.find(Level::kInfo, "Info", outlier.any("consecutiveGatewayErrors"),
              "gateway errors count as 5xx too, so this limit is never reached before consecutive5xxErrors");
  if (!outlier.any("maxEjectionPercent"))
    tree.find(Level::kInfo, "Info", outlier,
              "maxEjectionPercent is 10 when not written: of fewer than ten endpoints not even one may be ejected by share");
}

void destination_rule(const UntypedItem& item) {
  const Tree tree(item);
  const auto spec = tree.spec();
  item.status->find(Level::kWarning, "NoWaypoint", kHttpOnly);
  traffic_policy(tree, spec.map("trafficPolicy"));
  for (const auto& subset : spec.list("subsets")) traffic_policy(tree, subset.map("trafficPolicy"));
}

void gateway(const World& world, const UntypedItem& item) {
  const Tree tree(item);
  const auto spec = tree.spec();
  item.status->find(Level::kError, "NoMatchingWorkloads",
                    "spec.selector: no gateway proxy of this mesh serves it yet; nothing listens for it");
  for (const auto& server : spec.list("servers")) {
    const auto field = server.map("tls").any("credentialName");
    const auto name = field.as_text().value_or("");
    if (name.empty() || name.find("://") != name.npos) continue;
    const auto& ns = item.meta().namespace_;
    if (!world.untyped_names.contains({"", "Secret", ns, name}))
      tree.find(Level::kWarning, "ReferenceNotFound", field,
                "no Secret " + shown(name) + " in namespace " + ns +
                    ", where the gateway's workload is looked for; this listener has no certificate, the others are not "
                    "concerned");
  }
}

void sidecar(const World& world, const UntypedItem& item) {
  const Tree tree(item);
  const auto spec = tree.spec();
  item.status->find(Level::kWarning, "NoEffectInAmbient",
                    "limits sidecars only: no host is hidden and no connection refused by it; to restrict what pods reach, "
                    "use NetworkPolicy");
  for (const auto& egress : spec.list("egress")) {
    for (const auto& field : egress.list("hosts")) {
      const auto text = field.as_text().value_or("");
      const auto slash = text.find('/');
      if (slash == text.npos) continue;
      const auto host = text.substr(slash + 1);
      const auto ns = text.substr(0, slash) == "." ? item.meta().namespace_ : text.substr(0, slash);
      if (host.find('*') != host.npos || ns == "*" || ns == "~") continue;
      if (world.entry_hosts.contains({ns, host}) || service_exists(world, full_host(world, host, ns))) continue;
      tree.find(Level::kWarning, "ReferenceNotFound", field,
                "no ServiceEntry or Service of namespace " + ns + " has the host " + shown(host) + "; it selects nothing");
    }
  }
  if (spec.any("egress") && spec.map("outboundTrafficPolicy").text("mode") != "REGISTRY_ONLY")
    item.status->find(Level::kWarning, "BroaderThanLikelyIntended",
                      "spec.outboundTrafficPolicy: not REGISTRY_ONLY, so destinations the mesh does not know still pass");
}

}  // namespace

void advise_routing(World& world) {
  const auto subsets = subsets_of(world);
  for (const auto& item : world.untyped) {
    if (is_kind(item, kGroup, "VirtualService")) VirtualServiceAdvice(world, subsets, item).advise();
    if (is_kind(item, kGroup, "DestinationRule")) destination_rule(item);
    if (is_kind(item, kGroup, "Gateway")) gateway(world, item);
    if (is_kind(item, kGroup, "Sidecar")) sidecar(world, item);
  }
}

}  // namespace weft::translate::detail
