#include "cni-plugin/plugin/enroll.h"

namespace weft::cni::plugin {

bool is_node_agent(std::string_view pod_name, std::string_view pod_namespace, std::string_view agent_namespace) {
  return !agent_namespace.empty() && pod_namespace == agent_namespace && pod_name.starts_with("istio-cni-node-");
}

Result<translate::Enrolment> decide(const std::vector<manifest::ObjectPtr>& objects, std::string_view pod_namespace,
                                    std::string_view pod_name,
                                    const std::vector<translate::EnablementSelector>& enablement) {
  const manifest::Object* pod = nullptr;
  const manifest::Object* surroundings = nullptr;
  for (const auto& object : objects) {
    if (object->as<manifest::Pod>() && object->meta.name == pod_name && object->meta.namespace_ == pod_namespace) {
      pod = object.get();
    }
    if (object->as<manifest::Namespace>() && object->meta.name == pod_namespace) surroundings = object.get();
  }
  if (!pod) {
    return fail(ErrorCode::kNotFound, "pod " + std::string(pod_namespace) + "/" + std::string(pod_name) + " is not known");
  }
  return translate::decide_enrolment(pod->meta, pod->as<manifest::Pod>()->spec.host_network,
                                     surroundings ? surroundings->meta.labels : manifest::Labels{}, enablement);
}

}  // namespace weft::cni::plugin
