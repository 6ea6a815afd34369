// Small meshes for this folder's tests.
#pragma once

#include <string>
#include <string_view>

#include "lib/model/balance.h"
#include "lib/model/snapshot_editor.h"

namespace weft::model {

inline IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }
inline SocketAddress at(std::string_view text) { return *SocketAddress::parse(text); }
inline const Draw kFirst = [](std::uint64_t) { return std::uint64_t{0}; };
inline const Draw kLast = [](std::uint64_t below) { return below - 1; };

inline Workload pod(const std::string& ns, const std::string& name, std::string_view address,
                    TunnelProtocol protocol = TunnelProtocol::kHbone) {
  Workload workload;
  workload.uid = "Kubernetes//Pod/" + ns + "/" + name;
  workload.name = name;
  workload.namespace_name = ns;
  workload.service_account = name;
  workload.trust_domain = "cluster.local";
  workload.protocol = protocol;
  if (!address.empty()) workload.addresses = {ip(address)};
  return workload;
}

inline Service service(const std::string& ns, const std::string& name, std::string_view vip) {
  Service value;
  value.name = name;
  value.namespace_name = ns;
  value.hostname = name + "." + ns + ".svc.cluster.local";
  if (!vip.empty()) value.vips = {{"", ip(vip)}};
  value.ports = {{80, 8080}};
  return value;
}

inline Workload& join(Workload& workload, const Service& service, PortMap ports = {{80, 8080}}) {
  workload.services[service.key().to_string()] = std::move(ports);
  return workload;
}

inline SnapshotPtr mesh(MeshObjects objects) {
  SnapshotEditor editor;
  editor.replace("test", std::move(objects));
  return editor.commit();
}

inline GatewayAddress by_name(const Service& service) { return {service.key(), 15008}; }

}  // namespace weft::model
