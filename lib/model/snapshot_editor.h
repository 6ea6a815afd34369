// What the sources say, merged into the next snapshot. Control thread only.
//
// Each source (a folder of manifests, a local configuration file, a control plane) owns its objects under its name; of
// objects with one key the one from the alphabetically last source counts. Objects equal to what the last snapshot holds
// are shared with it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "lib/model/snapshot.h"

namespace weft::model {

// The objects of one source. Endpoints of services come from the workloads' memberships and from what services list.
struct MeshObjects {
  std::vector<Workload> workloads;
  std::vector<Service> services;
  std::vector<Policy> policies;
};

class SnapshotEditor {
 public:
  SnapshotEditor() : last_(std::make_shared<Snapshot>()) {}

  // Everything `source` has to say; replaces what it said before.
  void replace(const std::string& source, MeshObjects objects);
  // Single changes, for delta protocols. Policies are keyed by resource name.
  void upsert(const std::string& source, Workload workload);
  void upsert(const std::string& source, Service service);
  void upsert(const std::string& source, Policy policy);
  // A workload's uid, else a service's "ns/hostname".
  void remove_address(const std::string& source, const std::string& resource_name);
  void remove_policy(const std::string& source, const std::string& resource_name);

  // The next snapshot, or the last one again when nothing changed.
  SnapshotPtr commit();
  const SnapshotPtr& last() const { return last_; }

 private:
  struct Contents {
    std::map<std::string, WorkloadPtr> workloads;  // by uid
    std::map<std::string, ServicePtr> services;    // by "ns/hostname"; endpoints as the source listed them
    std::map<std::string, PolicyPtr> policies;     // by "ns/name"
  };

  std::map<std::string, Contents> sources_;
  SnapshotPtr last_;
};

}  // namespace weft::model
