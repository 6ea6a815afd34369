// The objects of one translation, sorted by kind and namespace, each with the place where findings about it go.
#pragma once

#include <array>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "lib/translate/condition.h"
#include "lib/translate/detail/mesh_config.h"
#include "lib/translate/namespaces.h"
#include "lib/translate/options.h"

namespace weft::translate::detail {

// One object with its typed body. The pointers live as long as the world.
template <typename T>
struct Item {
  const manifest::Object* object = nullptr;
  const T* body = nullptr;
  ObjectStatus* status = nullptr;

  const manifest::Meta& meta() const { return object->meta; }
};

template <typename T>
using Items = std::vector<Item<T>>;

class World {
 public:
  // `known` outlives the world.
  World(const std::vector<manifest::ObjectPtr>& objects, const KnownNamespaces& known, const Options& options,
        ChosenMeshConfig mesh);
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  const ChosenMeshConfig mesh;
  const std::string system_namespace;  // where the mesh configuration stands
  const Options options;               // with the mesh configuration laid over them
  std::vector<ObjectStatus> statuses;  // one for each object, in the order given; never resized

  std::map<std::string, Item<manifest::Namespace>> namespaces;  // described now
  std::map<std::string, Item<manifest::Node>> nodes;
  Items<manifest::Pod> pods;
  Items<manifest::PodTemplate> templates;
  Items<manifest::Service> services;
  Items<manifest::EndpointSlice> slices;
  Items<manifest::WorkloadEntry> entries;
  Items<manifest::WorkloadGroup> workload_groups;
  Items<manifest::ServiceEntry> service_entries;
  Items<manifest::PeerAuthentication> peer_authentications;
  Items<manifest::AuthorizationPolicy> authorization_policies;
  Items<manifest::Gateway> gateways;
  std::map<std::string, Item<manifest::GatewayClass>> gateway_classes;
  Items<manifest::ConfigMap> config_maps;
  Items<manifest::Untyped> untyped;

  // What there is by name, for the references of other objects: one file may hold a hundred thousand of those.
  std::unordered_set<std::string> service_hosts;                        // "name.ns.svc.<cluster domain>" of Services
  std::set<std::pair<std::string_view, std::string_view>> entry_hosts;  // namespace, host of ServiceEntries
  std::set<std::array<std::string_view, 4>> untyped_names;              // group, kind, namespace, name

  // Labels and annotations of a namespace, as its object has them or had them last; empty when it is not known.
  const manifest::Labels& namespace_labels(const std::string& name) const;
  const manifest::Labels& namespace_annotations(const std::string& name) const;
  // With the label that the API server puts on every namespace, for selectors of namespaces.
  manifest::Labels stored_namespace_labels(const std::string& name) const;

 private:
  const KnownNamespaces& known_;
};

// True when every wanted label is there with that value; no labels wanted: true.
bool selects(const manifest::Labels& wanted, const manifest::Labels& given);

}  // namespace weft::translate::detail
