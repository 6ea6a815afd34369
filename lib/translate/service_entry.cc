#include <algorithm>
#include <set>

#include "lib/translate/detail/services.h"

namespace weft::translate::detail {
namespace {

using manifest::ServiceEntry;

// Addresses as written, else those allocated; "1.2.3.4/32" is an address, shorter prefixes are blocks.
void add_addresses(const World& world, const Item<ServiceEntry>& item, const std::string& host, model::Service& service) {
  const auto& source = *item.body;
  auto texts = source.addresses;
  const bool may_be_allocated = host.starts_with('*') ? source.resolution == "DYNAMIC_DNS" : source.resolution != "NONE";
  if (texts.empty() && may_be_allocated) {
    for (const auto& given : source.allocated) {
      if (given.host.empty() || given.host == host) texts.push_back(given.address);
    }
  }
  for (const auto& text : texts) {
    auto block = Cidr::parse(text);
    if (!block) {
      item.status->find(Level::kError, "InvalidValue",
                        "spec.addresses: \"" + text.substr(0, 100) + "\" is no address; left out");
    } else if (block->length() == block->address().bytes().size() * 8) {
      service.vips.push_back({world.options.network, block->address()});
    } else {
      service.cidr_vips.push_back({world.options.network, *block});
    }
  }
}

std::optional<model::LoadBalancing> load_balancing(const World& world, const Item<ServiceEntry>& item) {
  if (item.body->resolution == "NONE")
    return model::LoadBalancing{{}, model::LoadBalancingMode::kPassthrough, model::HealthPolicy::kAllowAll};
  constexpr const char* kAnnotation = "networking.istio.io/traffic-distribution";
  if (const auto* own = item.meta().annotation(kAnnotation)) return traffic_distribution(*own);
  const auto& inherited = world.namespace_annotations(item.meta().namespace_);
  auto found = inherited.find(kAnnotation);
  return found == inherited.end() ? std::nullopt : traffic_distribution(found->second);
}

}  // namespace

void translate_service_entries(World& world, const Waypoints& waypoints, Services& out) {
  for (const auto& item : world.service_entries) {
    const auto& source = *item.body;
    const auto& meta = item.meta();
    const auto visibility = world.mesh.config.visibility.of(world.stored_namespace_labels(meta.namespace_));
    if (visibility == EntryVisibility::kNone) {
      item.status->find(Level::kWarning, "FieldIgnored",
                        "the mesh configuration hides it from everybody (serviceEntryVisibility NONE); it has no effect");
      continue;
    }
    const bool own_namespace = visibility == EntryVisibility::kNamespace;
    auto binding = waypoints.bind(meta, meta.labels, TrafficType::kService, item.status,
                                  own_namespace ? WaypointReach::kOwnNamespace : WaypointReach::kAnyNamespace);
    for (const auto& host : source.hosts) {
      model::Service service;
      service.name = meta.name;
      service.namespace_name = meta.namespace_;
      service.hostname = host;
      add_addresses(world, item, host, service);
      service.visibility = own_namespace ? model::Visibility::kNamespace : model::Visibility::kPublic;
      Membership membership{meta.namespace_ + "/" + host, meta.name, ServiceSource::kServiceEntry, {}, {}};
      if (source.workload_selector) membership.selector = *source.workload_selector;
      for (const auto& port : source.ports) {
        const auto target = port.target_port == 0 ? port.port : port.target_port;
        service.ports[port.port] = target;
        membership.ports.push_back({port.port, target, port.name, "", "TCP"});
      }
      service.subject_alt_names = source.subject_alt_names;
      service.load_balancing = load_balancing(world, item);
      service.waypoint = binding.waypoint;
      service.weighted_waypoints = binding.weighted;
      out.memberships[meta.namespace_].push_back(std::move(membership));
      out.services.push_back(std::move(service));
    }
    if (source.hosts.empty()) item.status->find(Level::kError, "InvalidValue", "spec.hosts: none; the entry has no effect");
  }
}

void settle_conflicts(World& world, Services& out) {
  // Services were added before ServiceEntries, so the first of a key is the one that counts, if entries come oldest first.
  std::map<std::string, const Item<ServiceEntry>*> entries;  // by "ns/name"
  for (const auto& item : world.service_entries) entries[item.meta().namespace_ + "/" + item.meta().name] = &item;
  auto age = [&](const model::Service& service) -> std::pair<bool, std::string> {
    if (service.canonical) return {false, ""};
    const auto& time = entries.at(service.namespace_name + "/" + service.name)->meta().creation_timestamp;
    return {true, time.empty() ? "~" : time};  // an entry without a time is the newest
  };
  std::stable_sort(out.services.begin(), out.services.end(), [&](const auto& a, const auto& b) { return age(a) < age(b); });
  std::map<std::string, std::string> winners;                      // key -> name of the object
  std::set<std::pair<std::string_view, std::string_view>> losers;  // key, name of the ServiceEntry
  std::set<std::string> canonical;
  std::vector<model::Service> kept;
  for (auto& service : out.services) {
    const auto key = service.key().to_string();
    if (const auto [winner, first] = winners.emplace(key, service.name); !first) {
      if (winner->second != service.name) losers.emplace(winner->first, service.name);
      if (auto found = entries.find(service.namespace_name + "/" + service.name); found != entries.end())
        found->second->status->find(
            Level::kWarning, "Info",
            "host " + service.hostname + " is already that of another service of the namespace, which wins");
      continue;
    }
    if (service.canonical) {
      canonical.insert(service.hostname);
    } else {
      service.canonical = service.visibility == model::Visibility::kPublic && canonical.insert(service.hostname).second;
    }
    kept.push_back(std::move(service));
  }
  for (auto& [ns, memberships] : out.memberships) {
    std::erase_if(memberships, [&](const Membership& membership) {
      return membership.source == ServiceSource::kServiceEntry && losers.contains({membership.key, membership.object});
    });
    for (const auto& membership : memberships)
      out.by_key.emplace(std::pair<std::string_view, ServiceSource>(membership.key, membership.source), &membership);
  }
  out.services = std::move(kept);
}

}  // namespace weft::translate::detail
