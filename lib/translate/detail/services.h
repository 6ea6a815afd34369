// Service and ServiceEntry become services, and the rules by which workloads belong to them.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/model/service.h"
#include "lib/translate/detail/waypoints.h"
#include "lib/translate/detail/world.h"

namespace weft::translate::detail {

enum class ServiceSource { kService, kServiceEntry };

// How workloads become endpoints of a service.
struct Membership {
  struct Port {
    std::uint16_t port = 0;
    std::uint16_t target = 0;  // 0: by name
    std::string name;          // the service's name for the port
    std::string target_name;   // the workload's name for it, of a Service
    std::string protocol = "TCP";
  };
  std::string key;     // "ns/hostname"
  std::string object;  // name of the Service or ServiceEntry
  ServiceSource source = ServiceSource::kService;
  manifest::Labels selector;  // empty: selects nothing
  std::vector<Port> ports;
};

struct Services {
  std::vector<model::Service> services;
  std::map<std::string, std::vector<Membership>> memberships;  // by namespace
  // The same by key and source, once conflicts are settled; pointers into `memberships`.
  std::map<std::pair<std::string_view, ServiceSource>, const Membership*> by_key;
};

// A workload's own ports by name.
struct NamedPort {
  std::string name;
  std::uint16_t port = 0;
  std::string protocol = "TCP";
};

void translate_services(World& world, const Waypoints& waypoints, Services& out);
void translate_service_entries(World& world, const Waypoints& waypoints, Services& out);
// Of the services with one host name, marks the one that clients of other namespaces mean; drops those, with their
// endpoints, that another one of the same namespace overrides. Memberships do not change afterwards.
void settle_conflicts(World& world, Services& out);

// Whose ports those are: a WorkloadEntry's stand for the service's ports of the same name, a container's for named targets.
enum class PortOwner { kPod, kEntry };

// Service port -> this workload's port. A named target that the workload lacks is left out.
model::PortMap resolve_ports(const Membership& membership, const std::vector<NamedPort>& named, PortOwner owner);

// "PreferClose", "PreferSameZone", "PreferSameNode" as preferences; nothing for others.
std::optional<model::LoadBalancing> traffic_distribution(const std::string& text);

}  // namespace weft::translate::detail
