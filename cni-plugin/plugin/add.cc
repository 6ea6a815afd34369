#include "cni-plugin/plugin/add.h"

#include <poll.h>
#include <sys/stat.h>

#include <cerrno>

#include "cni-plugin/plugin/agent_client.h"
#include "cni-plugin/plugin/cni_result.h"
#include "cni-plugin/plugin/enroll.h"
#include "cni-plugin/plugin/folder.h"
#include "cni-plugin/plugin/network_config.h"
#include "cni-plugin/plugin/plugin_log.h"

namespace weft::cni::plugin {
namespace {

// istio-cni's: the pod may be known to the runtime a moment before it is known here.
constexpr int kRetries = 1;
constexpr int kPatientRetries = 30;
constexpr int kRetryPauseMs = 1000;

std::unexpected<CniError> refuse_internal(std::string message) { return refuse(CniError::kInternal, std::move(message)); }

// A plugin that is given its own namespace would redirect the node.
bool is_own_namespace(const Environment& environment) {
  if (environment.netns_override == "1" || environment.netns_override == "TRUE" || environment.netns_override == "true") {
    return false;
  }
  struct stat own{}, pod{};
  return ::stat("/proc/self/ns/net", &own) == 0 && ::stat(environment.netns.c_str(), &pod) == 0 &&
         own.st_dev == pod.st_dev && own.st_ino == pod.st_ino;
}

// Stands where istio-cni makes its API client, and like there every pod is refused when it cannot be had.
Result<void> find_manifests(const NetworkConfig& config) {
  if (config.manifest_dir.empty()) {
    return fail(ErrorCode::kInvalidArgument, "manifest_dir is not set, so pods cannot be looked up");
  }
  struct stat folder{};
  if (::stat(config.manifest_dir.c_str(), &folder) != 0) return fail_errno(errno, "manifest_dir " + config.manifest_dir);
  return {};
}

Result<translate::Enrolment> look_up_once(const NetworkConfig& config, const Arguments& pod) {
  WEFT_TRY(const FolderContents folder, read_folder(config.manifest_dir));
  auto decided = decide(folder.objects, pod, config.enablement);
  // What a broken file says is not known. Only a decision for the mesh needs no more knowledge.
  if (decided && *decided == translate::Enrolment::kYes) return decided;
  for (const auto& file : folder.unreadable) {
    if (!file.may_concern(pod.pod_name) && !file.may_concern(pod.pod_namespace)) continue;
    const auto what =
        decided ? "pod " + pod.pod_namespace + "/" + pod.pod_name + " cannot be judged" : decided.error().message();
    return fail(ErrorCode::kUnavailable, what + " while a file is unreadable: " + file.why);
  }
  return decided;
}

Result<translate::Enrolment> look_up(const NetworkConfig& config, const Arguments& pod, PluginLog& log) {
  for (int left = config.detection_retry ? kPatientRetries : kRetries;; --left) {
    auto found = look_up_once(config, pod);
    if (found || left == 0) return found;
    log.write(PluginLog::Level::kDebug, "pod not found, will look again", {{"error", found.error().message()}});
    (void)::poll(nullptr, 0, kRetryPauseMs);
  }
}

std::expected<void, CniError> tell_agent(const NetworkConfig& config, const Environment& environment, const Arguments& pod,
                                         const CniResult& result) {
  struct stat netns{};
  if (::stat(environment.netns.c_str(), &netns) != 0) {
    return refuse_internal(Error::from_errno(errno, "network namespace " + environment.netns).message());
  }
  const PodEvent event{.netns = environment.netns,
                       .pod_name = pod.pod_name,
                       .pod_namespace = pod.pod_namespace,
                       .pod_uid = pod.pod_uid,
                       .has_addresses = result.has_previous,
                       .addresses = result.addresses};
  if (auto added = add_pod(config.agent_run_dir, event); !added) {
    return refuse_internal("istio-cni cmdAdd failed to contact node Istio CNI agent: " + added.error().message());
  }
  return {};
}

}  // namespace

std::expected<std::string, CniError> add(const Call& call, const Environment& environment, std::string_view text) {
  if (is_own_namespace(environment)) {
    return refuse(CniError::kOwnNamespace, "plugin's netns and netns from CNI_NETNS should not be the same");
  }
  const auto config = read_network_config(text);
  if (!config) return refuse_internal("failed to parse network configuration: " + config.error().message());
  const auto result = read_previous_result(text, call.version);
  if (!result) return refuse_internal(result.error().message());
  const auto pod = read_arguments(environment.args);
  if (!pod) return std::unexpected(pod.error());
  if (is_node_agent(pod->pod_name, pod->pod_namespace, config->pod_namespace)) return result->text;

  PluginLog log(config->log_level, config->agent_run_dir);
  const auto refused = [&](CniError error) {
    log.write(PluginLog::Level::kError, "pod refused",
              {{"pod", pod->pod_name}, {"namespace", pod->pod_namespace}, {"error", error.message}});
    return std::unexpected(std::move(error));
  };
  if (auto found = find_manifests(*config); !found) {
    return refused({.message = "failed to createNewK8sClient: " + found.error().message()});
  }
  const auto passed = [&](std::string_view why) {
    log.write(PluginLog::Level::kInfo, "pod is not of the mesh",
              {{"pod", pod->pod_name}, {"namespace", pod->pod_namespace}, {"reason", why}});
    return result->text;
  };
  if (pod->pod_name.empty() || pod->pod_namespace.empty()) return passed("not a Kubernetes pod");
  if (config->exclude_namespaces.contains(pod->pod_namespace)) return passed("namespace excluded");
  if (!config->ambient_enabled) return passed("ambient is not enabled");

  const auto decided = look_up(*config, *pod, log);
  if (!decided) return refused({.message = "failed to look up the pod: " + decided.error().message()});
  // What was said of the pod's namespace before, and whether it is only about to come, the agent knows.
  const bool undecided = *decided == translate::Enrolment::kUndecided;
  if (*decided != translate::Enrolment::kYes && !undecided) return passed(translate::to_string(*decided));
  if (auto told = tell_agent(*config, environment, *pod, *result); !told) return refused(told.error());
  log.write(PluginLog::Level::kInfo, undecided ? "pod accepted by the agent, in the mesh or not" : "pod added to the mesh",
            {{"pod", pod->pod_name}, {"namespace", pod->pod_namespace}, {"netns", environment.netns}});
  return result->text;
}

}  // namespace weft::cni::plugin
