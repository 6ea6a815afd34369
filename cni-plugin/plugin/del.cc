#include "cni-plugin/plugin/del.h"

#include "cni-plugin/plugin/agent_client.h"
#include "cni-plugin/plugin/network_config.h"
#include "cni-plugin/plugin/plugin_log.h"

namespace weft::cni::plugin {

void del(const Environment& environment, std::string_view text) {
  const auto config = read_network_config(text);
  const auto pod = read_arguments(environment.args);
  if (!config || !pod || !config->ambient_enabled || environment.netns.empty()) return;
  if (pod->pod_name.empty() || pod->pod_namespace.empty()) return;
  const PodEvent event{.netns = environment.netns,
                       .pod_name = pod->pod_name,
                       .pod_namespace = pod->pod_namespace,
                       .pod_uid = pod->pod_uid,
                       .has_addresses = false,
                       .addresses = {}};
  if (auto told = delete_pod(config->agent_run_dir, event); !told) {
    PluginLog log(config->log_level, config->agent_run_dir);
    log.write(PluginLog::Level::kDebug, "the agent was not told of a removed pod",
              {{"pod", pod->pod_name}, {"namespace", pod->pod_namespace}, {"error", told.error().message()}});
  }
}

}  // namespace weft::cni::plugin
