#include <set>

#include "lib/translate/detail/advice.h"
#include "lib/translate/detail/tree.h"
#include "lib/translate/enrolment.h"

namespace weft::translate::detail {
namespace {

constexpr const char* kOptOut = "; to keep a pod out of the mesh label it istio.io/dataplane-mode=none";

void injection_marks(const manifest::Meta& meta, const std::string& path, ObjectStatus& status) {
  constexpr const char* kInject = "sidecar.istio.io/inject";
  if (meta.annotation(kInject))
    status.find(Level::kInfo, "NoEffectInAmbient",
                path + "annotations[sidecar.istio.io/inject]: speaks of sidecars only" + kOptOut);
  if (meta.label(kInject))
    status.find(Level::kInfo, "NoEffectInAmbient",
                path + "labels[sidecar.istio.io/inject]: speaks of sidecars only" + kOptOut);
}

void dataplane_mode(const manifest::Meta& meta, ObjectStatus& status) {
  const auto* mode = meta.label(kDataplaneModeLabel);
  if (mode && *mode != "ambient" && *mode != "none")
    status.find(
        Level::kWarning, "FieldIgnored",
        "metadata.labels[istio.io/dataplane-mode]: \"" + mode->substr(0, 100) + "\" is neither ambient nor none; ignored");
}

// Several applications of one namespace that all run as its default account share one identity.
void shared_default_account(World& world) {
  std::map<std::string, std::set<std::string>> apps;  // namespace -> applications that run as default
  auto app_of = [](const Item<manifest::PodTemplate>& item) {
    const auto* app = item.body->meta.label("app");
    return app ? *app : item.meta().name;
  };
  for (const auto& item : world.templates) {
    if (item.body->spec.service_account == "default") apps[item.meta().namespace_].insert(app_of(item));
  }
  for (const auto& item : world.templates) {
    const auto& ns = item.meta().namespace_;
    if (item.body->spec.service_account != "default" || apps[ns].size() < 2) continue;
    item.status->find(Level::kWarning, "PrincipalNotInUse",
                      "spec.template.spec.serviceAccountName: missing, so the pods run as " + ns +
                          "/default like others of the namespace; policies cannot tell them apart, and a principal " +
                          world.options.trust_domain + "/ns/" + ns + "/sa/" + app_of(item) + " is nobody");
  }
}

// A host name of the cluster's own services is in two hands then.
void service_entry(const World& world, const Item<manifest::ServiceEntry>& item) {
  const auto own = ".svc." + world.options.cluster_domain;
  for (const auto& host : item.body->hosts) {
    if (!host.ends_with(own)) continue;
    item.status->find(
        Level::kWarning, "Info",
        "spec.hosts: " + shown(host) +
            (service_exists(world, host) ? " is a Service of this cluster too; the Service wins"
                                         : " is a name of this cluster's Services; a Service of that name would win"));
    if (item.body->location == "MESH_EXTERNAL")
      item.status->find(Level::kWarning, "Info",
                        "spec.location: MESH_EXTERNAL means plain text to the endpoints, though " + shown(host) +
                            " is a name inside the mesh; a service of another cluster is MESH_INTERNAL");
  }
}

}  // namespace

void advise_core(World& world) {
  for (const auto& [name, item] : world.namespaces) {
    const auto& meta = item.meta();
    if (const auto* value = meta.label("istio-injection"); value && *value == "enabled")
      item.status->find(Level::kWarning, "NoEffectInAmbient",
                        "metadata.labels[istio-injection]: selects sidecar mode, which this mesh does not provide; use "
                        "istio.io/dataplane-mode=ambient");
    dataplane_mode(meta, *item.status);
  }
  for (const auto& item : world.pods) {
    injection_marks(item.meta(), "metadata.", *item.status);
    dataplane_mode(item.meta(), *item.status);
  }
  for (const auto& item : world.templates) injection_marks(item.body->meta, "spec.template.metadata.", *item.status);
  for (const auto& item : world.services) {
    for (const auto& port : item.body->ports) {
      if (!port.name.empty() || !port.app_protocol.empty()) continue;
      item.status->find(Level::kInfo, "Info",
                        "spec.ports: port " + std::to_string(port.port) +
                            " has no name and no appProtocol; its protocol is found out from the first bytes");
      break;
    }
  }
  for (const auto& item : world.service_entries) service_entry(world, item);
  shared_default_account(world);
}

}  // namespace weft::translate::detail
