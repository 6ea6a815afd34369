#include "cni-plugin/plugin/enroll.h"

#include <algorithm>

namespace weft::cni::plugin {
namespace {

// The runtime means this pod: it has the UID, or is a static pod that the kubelet knows by it, or one of them has none.
bool is_meant(const manifest::Meta& pod, const std::string& uid) {
  if (uid.empty() || pod.uid.empty() || uid == pod.uid) return true;
  return std::ranges::any_of(translate::kStaticPodAnnotations, [&](const char* name) {
    const auto* other = pod.annotation(name);
    return other && *other == uid;
  });
}

}  // namespace

bool is_node_agent(std::string_view pod_name, std::string_view pod_namespace, std::string_view agent_namespace) {
  return !agent_namespace.empty() && pod_namespace == agent_namespace && pod_name.starts_with("istio-cni-node-");
}

Result<translate::Enrolment> decide(const std::vector<manifest::ObjectPtr>& objects, const Arguments& asked,
                                    const std::vector<translate::EnablementSelector>& enablement) {
  const manifest::Object* pod = nullptr;
  const manifest::Object* surroundings = nullptr;
  for (const auto& object : objects) {
    if (object->as<manifest::Pod>() && object->meta.name == asked.pod_name &&
        object->meta.namespace_ == asked.pod_namespace) {
      pod = object.get();
    }
    if (object->as<manifest::Namespace>() && object->meta.name == asked.pod_namespace) surroundings = object.get();
  }
  const auto name = asked.pod_namespace + "/" + asked.pod_name;
  if (!pod) return fail(ErrorCode::kNotFound, "pod " + name + " is not known");
  if (!is_meant(pod->meta, asked.pod_uid)) {
    return fail(ErrorCode::kNotFound,
                "pod " + name + " with UID " + asked.pod_uid + " is not known: the one of that name has " + pod->meta.uid);
  }
  const bool host_network = pod->as<manifest::Pod>()->spec.host_network;
  if (!surroundings) return translate::decide_enrolment_alone(pod->meta, host_network, enablement);
  return translate::decide_enrolment(pod->meta, host_network, surroundings->meta.labels, enablement);
}

}  // namespace weft::cni::plugin
