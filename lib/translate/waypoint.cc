#include <charconv>

#include "lib/translate/detail/waypoints.h"

namespace weft::translate::detail {
namespace {

constexpr std::uint16_t kHbonePort = 15008;

const std::string* find(const manifest::Labels& labels, const std::string& key) {
  auto found = labels.find(key);
  return found == labels.end() ? nullptr : &found->second;
}

}  // namespace

Waypoints::Waypoints(const World& world) : world_(world) {
  for (const auto& item : world.gateways) {
    gateways_[{item.meta().namespace_, item.meta().name}] = &item;
    read_inbound_binding(item);
  }
}

// "PROXY", "NONE", "PROXY/15088"; the Gateway's own comes before its class's.
void Waypoints::read_inbound_binding(const Item<manifest::Gateway>& gateway) {
  constexpr const char* kAnnotation = "ambient.istio.io/waypoint-inbound-binding";
  const auto* text = gateway.meta().annotation(kAnnotation);
  if (auto found = world_.gateway_classes.find(gateway.body->class_name); !text && found != world_.gateway_classes.end())
    text = found->second.meta().annotation(kAnnotation);
  if (!text) return;
  const auto slash = text->find('/');
  const auto protocol = text->substr(0, slash);
  unsigned port = 0;
  bool port_ok = true;
  if (slash != text->npos) {
    auto [end, error] = std::from_chars(text->data() + slash + 1, text->data() + text->size(), port);
    port_ok = error == std::errc() && end == text->data() + text->size() && port > 0 && port <= 65535;
  }
  if ((protocol != "PROXY" && protocol != "NONE") || !port_ok) {
    gateway.status->find(Level::kError, "InvalidValue",
                         std::string("metadata.annotations[") + kAnnotation + "]: \"" + text->substr(0, 100) +
                             "\" is not written PROXY or NONE, with or without /PORT; ignored");
    return;
  }
  auto& binding = bindings_[&gateway];
  binding.proxy_protocol = protocol == "PROXY";
  if (port > 0) binding.port = static_cast<std::uint16_t>(port);
}

const Item<manifest::Gateway>* Waypoints::instance_of(const std::string& ns, const manifest::Labels& labels) const {
  const auto* name = find(labels, "gateway.networking.k8s.io/gateway-name");
  if (!name) return nullptr;
  auto found = gateways_.find({ns, *name});
  return found == gateways_.end() || found->second->body->status_addresses.empty() ? nullptr : found->second;
}

std::optional<Waypoints::Asked> Waypoints::asked(const manifest::Meta& meta, const manifest::Labels& labels,
                                                 const std::string& suffix) const {
  const auto key = "istio.io/use-waypoint" + suffix;
  for (const auto* level : {&labels, &world_.namespace_labels(meta.namespace_)}) {
    // The canary is taken from the level that names the primary.
    if (!find(*level, "istio.io/use-waypoint")) continue;
    const auto* name = find(*level, key);
    if (!name || name->empty() || *name == "none") return std::nullopt;
    const auto* ns = find(*level, key + "-namespace");
    return Asked{*name, ns && !ns->empty() ? *ns : meta.namespace_, level == &labels};
  }
  return std::nullopt;
}

std::string Waypoints::serves(const Item<manifest::Gateway>& gateway) const {
  if (const auto* type = gateway.meta().label("istio.io/waypoint-for")) return *type;
  auto found = world_.gateway_classes.find(gateway.body->class_name);
  if (found != world_.gateway_classes.end()) {
    if (const auto* type = found->second.meta().label("istio.io/waypoint-for")) return *type;
  }
  return "service";
}

bool Waypoints::allows(const Item<manifest::Gateway>& gateway, const std::string& client) const {
  if (gateway.body->listeners.empty()) return client == gateway.meta().namespace_;
  for (const auto& listener : gateway.body->listeners) {
    if (listener.routes_from == "All") return true;
    if (listener.routes_from == "Same" && client == gateway.meta().namespace_) return true;
    if (listener.routes_from == "Selector") {
      if (listener.routes_selector.matches(world_.stored_namespace_labels(client))) return true;
    }
  }
  return false;
}

std::optional<model::GatewayAddress> Waypoints::resolve(const Asked& asked, const std::string& client, TrafficType type,
                                                        Failure& failure) const {
  const auto name = asked.namespace_name + "/" + asked.name;
  auto found = gateways_.find({asked.namespace_name, asked.name});
  if (found == gateways_.end() || found->second->body->status_addresses.empty()) {
    failure = {"WaypointIsNotReady",
               found == gateways_.end() ? "there is no Gateway " + name : "Gateway " + name + " has no address yet"};
    return std::nullopt;
  }
  const auto& gateway = *found->second;
  if (!allows(gateway, client)) {
    failure = {"AttachmentDenied", "Gateway " + name + " does not allow namespace " + client};
    return std::nullopt;
  }
  const auto served = serves(gateway);
  if (served != "all" && served != (type == TrafficType::kService ? "service" : "workload")) {
    failure = {"UnsupportedTrafficType", "Gateway " + name + " serves traffic of type " + served};
    return std::nullopt;
  }
  for (const auto& address : gateway.body->status_addresses) {
    if (address.type == "Hostname" && !address.value.empty())
      return model::GatewayAddress{model::NamespacedHostname{asked.namespace_name, address.value}, kHbonePort};
  }
  for (const auto& address : gateway.body->status_addresses) {
    if (auto ip = IpAddress::parse(address.value); address.type == "IPAddress" && ip)
      return model::GatewayAddress{model::NetworkAddress{world_.options.network, *ip}, kHbonePort};
  }
  failure = {"WaypointIsNotReady", "Gateway " + name + " has no usable address"};
  return std::nullopt;
}

WaypointBinding Waypoints::bind(const manifest::Meta& meta, const manifest::Labels& labels, TrafficType type,
                                ObjectStatus* status, WaypointReach reach) const {
  WaypointBinding out;
  // A waypoint does not go through itself, nor through the one of its namespace.
  if (const auto* managed = find(labels, "gateway.istio.io/managed");
      managed && (*managed == "istio.io-mesh-controller" || *managed == "istio.io-eastwest-controller"))
    return out;
  if (type == TrafficType::kWorkload) {
    if (const auto* waypoint = instance_of(meta.namespace_, labels)) {
      if (auto binding = bindings_.find(waypoint); binding != bindings_.end()) out.application_tunnel = binding->second;
      return out;
    }
  }
  auto primary = asked(meta, labels, "");
  if (!primary) return out;
  if (const auto* instance = find(labels, "gateway.networking.k8s.io/gateway-name");
      instance && *instance == primary->name && meta.namespace_ == primary->namespace_name)
    return out;

  auto say = [&](const char* outcome, const std::string& reason, const std::string& message, Level level) {
    if (status) status->conditions.push_back({kWaypointBound, outcome, reason, message, level});
  };
  Failure failure;
  auto reached = [&](const Asked& waypoint) -> std::optional<model::GatewayAddress> {
    if (reach == WaypointReach::kAnyNamespace || waypoint.namespace_name == meta.namespace_)
      return resolve(waypoint, meta.namespace_, type, failure);
    failure = {"CrossNamespaceWaypointForbidden", "Gateway " + waypoint.namespace_name + "/" + waypoint.name +
                                                      " is of another namespace, which does not see this ServiceEntry"};
    return std::nullopt;
  };
  out.waypoint = reached(*primary);
  if (!out.waypoint) {
    // A namespace's waypoint for services is none for its pods, and nobody asked for one.
    const bool silent = failure.reason == "UnsupportedTrafficType" && !primary->by_object;
    if (!silent) say("False", failure.reason, failure.message + "; traffic goes directly", Level::kWarning);
    return out;
  }
  auto canary = asked(meta, labels, "-canary");
  if (!canary) {
    say("True", "WaypointAccepted", "bound to " + primary->namespace_name + "/" + primary->name, Level::kInfo);
    return out;
  }
  const auto& annotations = primary->by_object ? meta.annotations : world_.namespace_annotations(meta.namespace_);
  unsigned weight = 0;
  bool weight_ok = true;
  if (const auto* text = find(annotations, "istio.io/use-waypoint-canary-weight")) {
    auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), weight);
    weight_ok = error == std::errc() && end == text->data() + text->size() && weight <= 100;
  }
  std::optional<model::GatewayAddress> second;
  if (!weight_ok) {
    failure = {"CanaryInvalidWeight", "the canary's weight is no number from 0 to 100"};
  } else if (canary->name == primary->name && canary->namespace_name == primary->namespace_name) {
    failure = {"CanarySameAsPrimary", "the canary is the primary"};
  } else {
    second = reached(*canary);
  }
  if (!second) {
    say("False", failure.reason, failure.message + "; all traffic takes the primary", Level::kWarning);
    return out;
  }
  out.weighted = {{*out.waypoint, 100 - weight}, {*second, weight}};
  say("True", "WaypointAccepted",
      "bound to " + primary->name + " and, for " + std::to_string(weight) + " %, to " + canary->name, Level::kInfo);
  return out;
}

}  // namespace weft::translate::detail
