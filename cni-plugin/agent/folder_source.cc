#include "cni-plugin/agent/folder_source.h"

#include <map>

#include "lib/base/log.h"
#include "lib/translate/enrolment.h"

namespace weft::cni::agent {
namespace {

constexpr const char* kNetnsAnnotation = "weft.io/netns";
constexpr const char* kAgentPodPrefix = "istio-cni-node-";

// Why the pod is left out whatever its labels say; empty when it is not.
std::string exclusion(const manifest::Meta& pod, const Membership& membership) {
  if (membership.excluded_namespaces.contains(pod.namespace_)) return "namespace excluded";
  const auto* app = pod.label("app");
  if (pod.namespace_ == membership.system_namespace && app && *app == "ztunnel") return "node proxy";
  if (pod.namespace_ == membership.agent_namespace && pod.name.starts_with(kAgentPodPrefix)) return "node agent";
  return {};
}

std::vector<IpAddress> addresses(const manifest::Pod& pod, const std::string& name) {
  std::vector<IpAddress> ips;
  for (const auto& text : pod.ips) {
    auto ip = IpAddress::parse(text);
    if (ip) {
      ips.push_back(*ip);
    } else {
      WEFT_LOG(kWarn, "agent", "pod with an address that is none", {"pod", name}, {"address", text});
    }
  }
  return ips;
}

// `namespace_labels`: null when nobody describes the namespace.
PodInfo info_of(const manifest::Meta& meta, const manifest::Pod& pod, const manifest::Labels* namespace_labels,
                const Membership& membership) {
  PodInfo info{meta.uid, meta.name, meta.namespace_, pod.spec.service_account};
  if (info.uid.empty()) info.uid = info.full_name();
  info.ips = addresses(pod, info.full_name());
  for (const auto* name : translate::kStaticPodAnnotations) {
    if (const auto* uid = meta.annotation(name)) info.static_uid = *uid;
  }
  if (const auto* hint = meta.annotation(kNetnsAnnotation)) info.netns_hint = *hint;
  info.running = pod.phase == "Running";
  info.finished = pod.phase == "Succeeded" || pod.phase == "Failed";
  const auto host_network = pod.spec.host_network;
  const auto& enablement = membership.enablement;
  const auto enrolment = namespace_labels ? translate::decide_enrolment(meta, host_network, *namespace_labels, enablement)
                                          : translate::decide_enrolment_alone(meta, host_network, enablement);
  info.wanted = enrolment == translate::Enrolment::kYes;
  info.undecided = enrolment == translate::Enrolment::kUndecided;
  info.reason = translate::to_string(enrolment);
  if (info.wanted || info.undecided) {
    if (auto why = exclusion(meta, membership); !why.empty()) {
      info.wanted = info.undecided = false;
      info.reason = std::move(why);
    }
  }
  return info;
}

}  // namespace

std::vector<PodInfo> pods_of_node(const std::vector<manifest::ObjectPtr>& objects,
                                  const translate::KnownNamespaces& namespaces, const Membership& membership) {
  // An object written several times counts as written last.
  std::map<std::string, const manifest::Object*> pods;
  for (const auto& object : objects) {
    if (object->as<manifest::Pod>()) pods[object->meta.namespace_ + "/" + object->meta.name] = object.get();
  }
  std::vector<PodInfo> result;
  std::set<std::string> uids;
  for (const auto& [name, object] : pods) {
    const auto& pod = *object->as<manifest::Pod>();
    if (pod.spec.node_name.empty() || pod.spec.node_name != membership.node) continue;
    const auto known = namespaces.find(object->meta.namespace_);
    const auto* labels = known == namespaces.end() ? nullptr : &known->second.object->meta.labels;
    auto info = info_of(object->meta, pod, labels, membership);
    if (!uids.insert(info.uid).second) {
      WEFT_LOG(kWarn, "agent", "pod with the uid of another one is left out", {"pod", name}, {"uid", info.uid});
      continue;
    }
    result.push_back(std::move(info));
  }
  return result;
}

FolderPods::FolderPods(io::Files& files, const std::string& directory, Membership membership, OnChange on_change)
    : membership_(std::move(membership)),
      on_change_(std::move(on_change)),
      folder_(files, {.directory = directory}, [this](const sources::FolderStatePtr& state) { take(*state); }) {}

void FolderPods::take(const sources::FolderState& state) {
  set_.pods = pods_of_node(state.objects, state.output.namespaces, membership_);
  set_.complete = folder_.complete();
  set_.left_out.clear();
  if (!set_.complete) {
    // The label of their namespace may stand in the file that is broken.
    for (const auto& pod : set_.pods) {
      if (!pod.wanted) set_.left_out.merge(uids_of(pod));
    }
    std::erase_if(set_.pods, [](const PodInfo& pod) { return !pod.wanted; });
    WEFT_LOG(kWarn, "agent", "files could never be read: pods that seem to be gone, or outside the mesh, stay as they are",
             {"files", fmt::to_string(fmt::join(folder_.unknown(), ", "))});
  }
  on_change_(set_);
}

}  // namespace weft::cni::agent
