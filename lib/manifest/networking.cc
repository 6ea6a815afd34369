#include "lib/manifest/detail/decode.h"
#include "lib/manifest/selector.h"

namespace weft::manifest::detail {

namespace {

std::uint16_t port_of(const Reader& reader, std::string_view name) {
  return static_cast<std::uint16_t>(reader.integer(name, 1, 65535).value_or(0));
}

WorkloadEntry decode_entry(const Reader& entry) {
  WorkloadEntry out;
  out.address = entry.text("address");
  for (const auto& [name, port] : entry.entries("ports")) {
    if (auto number = port.as_integer(1, 65535)) out.ports[name] = static_cast<std::uint16_t>(*number);
  }
  out.labels = entry.text_map("labels");
  out.network = entry.text("network");
  out.locality = entry.text("locality");
  out.service_account = entry.text("serviceAccount");
  if (auto weight = entry.integer("weight", 0, UINT32_MAX)) out.weight = static_cast<std::uint32_t>(*weight);
  return out;
}

std::vector<Gateway::Address> decode_addresses(const Reader& of) {
  std::vector<Gateway::Address> out;
  for (const auto& entry : of.list("addresses")) out.push_back({entry.text("type", "IPAddress"), entry.text("value")});
  return out;
}

}  // namespace

WorkloadEntry decode_workload_entry(const Reader& object) { return decode_entry(object.map("spec")); }

WorkloadGroup decode_workload_group(const Reader& object) {
  auto spec = object.map("spec");
  return {spec.map("metadata").text_map("labels"), decode_entry(spec.map("template"))};
}

ServiceEntry decode_service_entry(const Reader& object) {
  ServiceEntry out;
  auto spec = object.map("spec");
  out.hosts = spec.texts("hosts");
  out.addresses = spec.texts("addresses");
  out.export_to = spec.texts("exportTo");
  out.subject_alt_names = spec.texts("subjectAltNames");
  out.location = spec.text("location", "MESH_EXTERNAL");
  out.resolution = spec.text("resolution", "NONE");
  for (const auto& entry : spec.list("ports")) {
    ServiceEntry::Port port{entry.text("name"), entry.text("protocol"), port_of(entry, "number"),
                            port_of(entry, "targetPort")};
    if (port.port != 0) out.ports.push_back(std::move(port));
  }
  for (const auto& entry : spec.list("endpoints")) out.endpoints.push_back(decode_entry(entry));
  if (auto selector = spec.map("workloadSelector")) out.workload_selector = selector.text_map("labels");
  for (const auto& entry : object.map("status").list("addresses")) {
    if (auto value = entry.text("value"); !value.empty()) out.allocated.push_back({entry.text("host"), std::move(value)});
  }
  return out;
}

Gateway decode_gateway(const Reader& object) {
  Gateway out;
  auto spec = object.map("spec");
  out.class_name = spec.text("gatewayClassName");
  for (const auto& entry : spec.list("listeners")) {
    Gateway::Listener listener;
    listener.name = entry.text("name");
    listener.hostname = entry.text("hostname");
    listener.protocol = entry.text("protocol");
    listener.port = port_of(entry, "port");
    auto namespaces = entry.map("allowedRoutes").map("namespaces");
    listener.routes_from = namespaces.text("from", "Same");
    listener.routes_selector = read_label_selector(namespaces.map("selector"));
    out.listeners.push_back(std::move(listener));
  }
  out.addresses = decode_addresses(spec);
  out.status_addresses = decode_addresses(object.map("status"));
  return out;
}

GatewayClass decode_gateway_class(const Reader& object) { return {object.map("spec").text("controllerName")}; }

}  // namespace weft::manifest::detail
