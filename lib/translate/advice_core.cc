#include <algorithm>
#include <cctype>
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

// A WorkloadEntry's address is an address, a host name or a Unix socket, which Envoy takes and a node proxy cannot dial.
void workload_entry(const Item<manifest::WorkloadEntry>& item) {
  const auto& entry = *item.body;
  auto invalid = [&](const std::string& message) { item.status->find(Level::kError, "InvalidValue", message); };
  for (const auto& [name, port] : entry.ports) {
    const bool plain = std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) || c == '-'; });
    if (name.empty() || name.size() > 63 || !plain) invalid("spec.ports: " + shown(name) + " is no name of a port");
  }
  constexpr std::string_view kUnix = "unix://";
  if (!entry.address.starts_with(kUnix)) return;
  const auto path = entry.address.substr(kUnix.size());
  if (path.ends_with('/')) {
    invalid("spec.address: " + shown(path) + " is a folder, no socket");
  } else if (!path.starts_with('/') && !path.starts_with('@')) {
    invalid("spec.address: " + shown(path) + " is neither an absolute path nor an abstract socket");
  } else if (!entry.ports.empty()) {
    invalid("spec.address: a Unix socket has no ports");
  } else {
    item.status->find(Level::kInfo, "Info", "spec.address: node proxies dial no Unix sockets; nothing can be sent to it");
  }
}

// Which service a TCP connection is for shows in its address alone.
void addresses_missing(const World& world, const Item<manifest::ServiceEntry>& item) {
  const auto& entry = *item.body;
  if (!entry.addresses.empty() || !entry.allocated.empty() || world.mesh.config.allocates_addresses) return;
  for (const auto& port : entry.ports) {
    auto protocol = port.protocol;
    std::transform(protocol.begin(), protocol.end(), protocol.begin(), [](unsigned char c) { return std::toupper(c); });
    if (protocol != "TCP" && !protocol.empty()) continue;
    item.status->find(Level::kWarning, "AddressMissing",
                      "spec.addresses: none, and none was allocated; connections to port " + std::to_string(port.port) +
                          " are not recognised as this entry's and pass as they are");
    return;
  }
}

// Entries share a host and its ports when their namespaces do not tell them apart.
void conflicting_protocols(World& world) {
  std::map<std::pair<std::string, std::uint16_t>, std::set<std::string>> protocols;
  auto each = [&](auto use) {
    for (const auto& item : world.service_entries) {
      for (const auto& host : item.body->hosts) {
        for (const auto& port : item.body->ports) use(item, std::pair(host, port.port), port.protocol);
      }
    }
  };
  each([&](const auto&, const auto& key, const std::string& protocol) { protocols[key].insert(protocol); });
  each([&](const auto& item, const auto& key, const std::string& protocol) {
    if (protocols[key].size() < 2) return;
    item.status->find(Level::kWarning, "ConflictingProtocol",
                      "spec.ports: port " + std::to_string(key.second) + " of " + shown(key.first) + " is " + protocol +
                          " here and something else in another ServiceEntry");
  });
}

// Namespaces of the cluster and of the mesh itself, whose objects their users do not write.
bool is_system(const World& world, const std::string& ns) {
  return ns == world.options.root_namespace || ns == world.system_namespace || ns == "kube-system" || ns == "kube-public" ||
         ns == "kube-node-lease" || ns == "local-path-storage";
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
    if (is_system(world, item.meta().namespace_)) continue;
    for (const auto& port : item.body->ports) {
      if (!port.name.empty() || !port.app_protocol.empty()) continue;
      item.status->find(Level::kInfo, "Info",
                        "spec.ports: port " + std::to_string(port.port) +
                            " has no name and no appProtocol; its protocol is found out from the first bytes");
      break;
    }
  }
  for (const auto& item : world.service_entries) {
    service_entry(world, item);
    addresses_missing(world, item);
  }
  conflicting_protocols(world);
  for (const auto& item : world.entries) workload_entry(item);
  for (const auto& item : world.workload_groups)
    item.status->find(
        Level::kInfo, "Info",
        "a template for machines that register themselves, which nothing serves here; write a WorkloadEntry for "
        "each");
  shared_default_account(world);
}

}  // namespace weft::translate::detail
