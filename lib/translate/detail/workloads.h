// Pods, workload entries and endpoints become workloads.
#pragma once

#include <vector>

#include "lib/model/workload.h"
#include "lib/translate/detail/policies.h"
#include "lib/translate/detail/services.h"
#include "lib/translate/detail/waypoints.h"

namespace weft::translate::detail {

struct Inputs {
  const Waypoints& waypoints;
  const Services& services;
  const Policies& policies;
  const PeerAuthentications& peers;
  std::map<std::string, std::string>& peer_authentications;  // filled, as Origins has it
};

void translate_pods(World& world, const Inputs& inputs, std::vector<model::Workload>& out);
// WorkloadEntry objects and the endpoints written inside ServiceEntries.
void translate_entries(World& world, const Inputs& inputs, std::vector<model::Workload>& out);
// Endpoints that belong to no pod; and, for services without selector, pods named by a slice.
void translate_slices(World& world, const Inputs& inputs, std::vector<model::Workload>& out);

std::vector<NamedPort> named_ports(const manifest::Pod& pod);

struct WorkloadNames {
  std::string workload, canonical, revision;
};
// `owner`: what the workload is called after its controller.
WorkloadNames canonical_names(const manifest::Labels& labels, const std::string& owner);
// "web-7d9f4" of a ReplicaSet with that hash is Deployment web; "job-28373880" of a Job is CronJob job.
std::string owner_name(const manifest::Meta& pod);

// "ns/name" of a Service or ServiceEntry -> its rule of membership; null when nothing has this key and source.
const Membership* membership_of(const Services& services, const std::string& key, ServiceSource source);
// Services whose selector finds these labels.
void attach_services(const Inputs& inputs, const std::string& ns, const manifest::Labels& labels,
                     const std::vector<NamedPort>& ports, PortOwner owner, model::Workload& workload);
void attach_policies(const Inputs& inputs, const manifest::Labels& labels, model::Workload& workload);
void attach_waypoint(const Inputs& inputs, const manifest::Meta& meta, const manifest::Labels& labels, ObjectStatus* status,
                     model::Workload& workload);
// A label that says that the workload ends tunnels by itself.
void attach_native_tunnel(const manifest::Labels& labels, model::Workload& workload);

}  // namespace weft::translate::detail
