#include "lib/manifest/detail/decode.h"

namespace weft::manifest::detail {

namespace {

constexpr std::int64_t kPortMax = 65535;

std::uint16_t port_of(const Reader& reader, std::string_view name) {
  return static_cast<std::uint16_t>(reader.integer(name, 1, kPortMax).value_or(0));
}

void add_ports(const Reader& container, std::vector<ContainerPort>& out) {
  for (const auto& entry : container.list("ports")) {
    ContainerPort port;
    port.name = entry.text("name");
    port.port = port_of(entry, "containerPort");
    port.protocol = entry.text("protocol", "TCP");
    if (port.port != 0) out.push_back(std::move(port));
  }
}

PodSpec decode_pod_spec(const Reader& spec) {
  PodSpec out;
  out.node_name = spec.text("nodeName");
  out.service_account = spec.text("serviceAccountName");
  if (out.service_account.empty()) out.service_account = spec.text("serviceAccount");  // the deprecated name
  if (out.service_account.empty()) out.service_account = "default";
  out.host_network = spec.boolean("hostNetwork");
  for (const auto& container : spec.list("containers")) add_ports(container, out.ports);
  for (const auto& container : spec.list("initContainers")) {
    if (container.text("restartPolicy") == "Always") add_ports(container, out.ports);
  }
  return out;
}

}  // namespace

Meta decode_meta(const Reader& metadata) {
  Meta out;
  out.name = metadata.text("name");
  if (out.name.empty()) out.name = metadata.text("generateName");
  out.namespace_ = metadata.text("namespace");
  out.uid = metadata.text("uid");
  out.labels = metadata.text_map("labels");
  out.annotations = metadata.text_map("annotations");
  out.creation_timestamp = metadata.text("creationTimestamp");
  out.deleting = !metadata.text("deletionTimestamp").empty();
  for (const auto& entry : metadata.list("ownerReferences")) {
    out.owners.push_back({entry.text("apiVersion"), entry.text("kind"), entry.text("name"), entry.boolean("controller")});
  }
  return out;
}

Pod decode_pod(const Reader& object) {
  Pod out;
  out.spec = decode_pod_spec(object.map("spec"));
  auto status = object.map("status");
  out.phase = status.text("phase");
  for (const auto& entry : status.list("podIPs")) {
    if (auto ip = entry.text("ip"); !ip.empty()) out.ips.push_back(std::move(ip));
  }
  if (auto ip = status.text("podIP"); out.ips.empty() && !ip.empty()) out.ips.push_back(std::move(ip));
  for (const auto& condition : status.list("conditions")) {
    if (condition.text("type") == "Ready")
      out.ready = condition.text("status") == "True" || condition.text("status") == "true";
  }
  return out;
}

PodTemplate decode_pod_template(const Reader& object) {
  PodTemplate out;
  auto spec = object.map("spec");
  out.replicas = spec.integer("replicas", 0, INT32_MAX);
  auto pod = spec.map("template");
  out.meta = decode_meta(pod.map("metadata"));
  out.spec = decode_pod_spec(pod.map("spec"));
  return out;
}

PodTemplate decode_cron_job(const Reader& object) { return decode_pod_template(object.map("spec").map("jobTemplate")); }

Service decode_service(const Reader& object) {
  Service out;
  auto spec = object.map("spec");
  out.type = spec.text("type", "ClusterIP");
  out.cluster_ips = spec.texts("clusterIPs");
  if (auto ip = spec.text("clusterIP"); out.cluster_ips.empty() && !ip.empty()) out.cluster_ips.push_back(std::move(ip));
  out.headless = !out.cluster_ips.empty() && out.cluster_ips.front() == "None";
  if (out.headless) out.cluster_ips.clear();
  out.selector = spec.text_map("selector");
  for (const auto& entry : spec.list("ports")) {
    ServicePort port;
    port.name = entry.text("name");
    port.port = port_of(entry, "port");
    port.protocol = entry.text("protocol", "TCP");
    port.app_protocol = entry.text("appProtocol");
    auto target = entry.any("targetPort");
    if (!target) {
      port.target_port = port.port;
    } else if (target.value()->is_scalar() && target.value()->text.find_first_not_of("0123456789") != std::string::npos) {
      port.target_name = target.value()->text;
    } else {
      // 0 stands for "not set", as the API server takes it.
      const auto number = target.as_integer(0, kPortMax).value_or(0);
      port.target_port = number == 0 ? port.port : static_cast<std::uint16_t>(number);
    }
    if (port.port != 0) out.ports.push_back(std::move(port));
  }
  out.publish_not_ready = spec.boolean("publishNotReadyAddresses");
  out.internal_traffic_policy = spec.text("internalTrafficPolicy");
  out.traffic_distribution = spec.text("trafficDistribution");
  out.ip_family_policy = spec.text("ipFamilyPolicy");
  out.ip_families = spec.texts("ipFamilies");
  out.external_name = spec.text("externalName");
  return out;
}

EndpointSlice decode_endpoint_slice(const Reader& object) {
  EndpointSlice out;
  out.address_type = object.text("addressType", "IPv4");
  for (const auto& entry : object.list("endpoints")) {
    EndpointSlice::Endpoint endpoint;
    endpoint.addresses = entry.texts("addresses");
    endpoint.ready = entry.map("conditions").boolean("ready", true);
    endpoint.hostname = entry.text("hostname");
    endpoint.node_name = entry.text("nodeName");
    endpoint.zone = entry.text("zone");
    auto target = entry.map("targetRef");
    endpoint.target_kind = target.text("kind");
    endpoint.target_namespace = target.text("namespace");
    endpoint.target_name = target.text("name");
    out.endpoints.push_back(std::move(endpoint));
  }
  for (const auto& entry : object.list("ports"))
    out.ports.push_back({entry.text("name"), port_of(entry, "port"), entry.text("protocol", "TCP")});
  return out;
}

ConfigMap decode_config_map(const Reader& object) { return {object.text_map("data")}; }

}  // namespace weft::manifest::detail
