#include "lib/translate/detail/world.h"

#include "lib/translate/enrolment.h"

namespace weft::translate::detail {

namespace {
const manifest::Labels kNone;
}  // namespace

World::World(const std::vector<manifest::ObjectPtr>& objects, const KnownNamespaces& known, const Options& given,
             ChosenMeshConfig chosen)
    : mesh(std::move(chosen)), system_namespace(given.root_namespace), options(mesh.config.over(given)), known_(known) {
  statuses.reserve(objects.size());
  for (const auto& object : objects) {
    statuses.push_back({object, {}});
    auto* status = &statuses.back();
    const auto& name = object->meta.name;
    auto item = [&](const auto& body) { return Item<std::remove_cvref_t<decltype(body)>>{object.get(), &body, status}; };
    std::visit(
        [&](const auto& body) {
          using T = std::remove_cvref_t<decltype(body)>;
          using namespace manifest;
          if constexpr (std::is_same_v<T, Namespace>) namespaces.insert_or_assign(name, item(body));
          if constexpr (std::is_same_v<T, Node>) nodes.insert_or_assign(name, item(body));
          if constexpr (std::is_same_v<T, Pod>) pods.push_back(item(body));
          if constexpr (std::is_same_v<T, PodTemplate>) templates.push_back(item(body));
          if constexpr (std::is_same_v<T, Service>) services.push_back(item(body));
          if constexpr (std::is_same_v<T, EndpointSlice>) slices.push_back(item(body));
          if constexpr (std::is_same_v<T, WorkloadEntry>) entries.push_back(item(body));
          if constexpr (std::is_same_v<T, WorkloadGroup>) workload_groups.push_back(item(body));
          if constexpr (std::is_same_v<T, ServiceEntry>) service_entries.push_back(item(body));
          if constexpr (std::is_same_v<T, PeerAuthentication>) peer_authentications.push_back(item(body));
          if constexpr (std::is_same_v<T, AuthorizationPolicy>) authorization_policies.push_back(item(body));
          if constexpr (std::is_same_v<T, Gateway>) gateways.push_back(item(body));
          if constexpr (std::is_same_v<T, GatewayClass>) gateway_classes.insert_or_assign(name, item(body));
          if constexpr (std::is_same_v<T, ConfigMap>) config_maps.push_back(item(body));
          if constexpr (std::is_same_v<T, Untyped>) untyped.push_back(item(body));
        },
        object->body);
  }
  for (const auto& item : services)
    service_hosts.insert(item.meta().name + "." + item.meta().namespace_ + ".svc." + options.cluster_domain);
  for (const auto& item : service_entries) {
    for (const auto& host : item.body->hosts) entry_hosts.emplace(item.meta().namespace_, host);
  }
  for (const auto& item : untyped)
    untyped_names.insert({item.object->group, item.object->kind, item.meta().namespace_, item.meta().name});
}

const manifest::Labels& World::namespace_labels(const std::string& name) const {
  auto found = known_.find(name);
  return found == known_.end() ? kNone : found->second.object->meta.labels;
}

const manifest::Labels& World::namespace_annotations(const std::string& name) const {
  auto found = known_.find(name);
  return found == known_.end() ? kNone : found->second.object->meta.annotations;
}

manifest::Labels World::stored_namespace_labels(const std::string& name) const {
  return translate::stored_namespace_labels(namespace_labels(name), name);
}

bool selects(const manifest::Labels& wanted, const manifest::Labels& given) {
  for (const auto& [key, value] : wanted) {
    auto found = given.find(key);
    if (found == given.end() || found->second != value) return false;
  }
  return true;
}

}  // namespace weft::translate::detail
