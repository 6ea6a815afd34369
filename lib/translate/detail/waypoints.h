// Which waypoint serves a service or workload, and whether it may.
//
// A binding that does not resolve leaves the object without waypoint: traffic goes directly, as in Istio, and a condition
// says why. Source: istiod's ambient waypoint binding.
#pragma once

#include <optional>
#include <vector>

#include "lib/model/service.h"
#include "lib/translate/detail/world.h"

namespace weft::translate::detail {

enum class TrafficType { kService, kWorkload };
// Where the waypoint of an object may stand: that of one which other namespaces must not see stands in its own.
enum class WaypointReach { kAnyNamespace, kOwnNamespace };

struct WaypointBinding {
  std::optional<model::GatewayAddress> waypoint;
  std::vector<model::WeightedWaypoint> weighted;  // with a canary: both, weights add up to 100
  // Of a waypoint's own pod, which has no waypoint itself: how tunnels are handed to it.
  std::optional<model::ApplicationTunnel> application_tunnel;
};

class Waypoints {
 public:
  explicit Waypoints(const World& world);

  // `labels` of the object (a workload entry has labels of two origins). Conditions go to `status` when given.
  WaypointBinding bind(const manifest::Meta& meta, const manifest::Labels& labels, TrafficType type, ObjectStatus* status,
                       WaypointReach reach = WaypointReach::kAnyNamespace) const;

 private:
  struct Asked {
    std::string name, namespace_name;
    bool by_object = false;  // not inherited from the namespace
  };
  struct Failure {
    std::string reason, message;
  };
  void read_inbound_binding(const Item<manifest::Gateway>& gateway);
  // The waypoint that a workload with these labels is a pod of; null when it is none.
  const Item<manifest::Gateway>* instance_of(const std::string& ns, const manifest::Labels& labels) const;
  std::optional<Asked> asked(const manifest::Meta& meta, const manifest::Labels& labels, const std::string& suffix) const;
  // The address, or why not.
  std::optional<model::GatewayAddress> resolve(const Asked& asked, const std::string& client_namespace, TrafficType type,
                                               Failure& failure) const;
  std::string serves(const Item<manifest::Gateway>& gateway) const;
  bool allows(const Item<manifest::Gateway>& gateway, const std::string& client_namespace) const;

  const World& world_;
  std::map<std::pair<std::string, std::string>, const Item<manifest::Gateway>*> gateways_;  // by namespace, name
  std::map<const Item<manifest::Gateway>*, model::ApplicationTunnel> bindings_;             // for their own pods
};

}  // namespace weft::translate::detail
