#include "ztunnel/dump/status.h"

#include <algorithm>

#include "ztunnel/dump/json.h"

namespace weft::ztunnel::dump {
namespace {

Json describe(const Settings& settings, const model::Snapshot& mesh) {
  return {{"source", !settings.manifest_dir.empty()     ? "manifests"
                     : !settings.local_xds_path.empty() ? "LOCAL_XDS_PATH"
                                                        : "LOCAL_XDS"},
          {"revision", mesh.revision()},
          {"policyRevision", mesh.policy_revision()},
          {"workloads", mesh.workloads().size()},
          {"services", mesh.services().size()},
          {"policies", mesh.policies().size()}};
}

Json describe(const Settings& settings, const sources::FolderState& state, const sources::FolderCounters& counters) {
  Json problems = Json::array();
  for (const auto& found : state.problems) {
    if (problems.size() == kManifestProblemsShown) break;
    problems.push_back({{"file", found.file},
                        {"line", found.problem.line},
                        {"reason", found.problem.reason},
                        {"message", found.problem.message},
                        {"lastGoodInForce", found.kept_last_good}});
  }
  return {{"folder", settings.manifest_dir},       {"files", counters.files},
          {"unreadable", counters.unreadable},     {"rulesWithoutEffect", state.output.policy_rules_without_effect},
          {"problemCount", state.problems.size()}, {"problems", std::move(problems)}};
}

Json describe(const std::vector<certs::SecretManager::Entry>& entries, WallTime now) {
  Json list = Json::array();
  for (const auto& entry : entries) {
    const auto state = entry.secret->current();
    Json row = {{"identity", entry.secret->identity().to_string()}, {"state", state->to_string()}};
    if (state->credentials && !state->credentials->chain().empty()) {
      const auto& leaf = state->credentials->chain().front();
      row["validFrom"] = format_rfc3339(leaf.not_before());
      row["expirationTime"] = format_rfc3339(leaf.not_after());
      const auto seconds = [](Duration time) { return std::chrono::duration_cast<std::chrono::seconds>(time).count(); };
      row["lifeSeconds"] = seconds(leaf.not_after() - leaf.not_before());
      row["remainingSeconds"] = seconds(leaf.not_after() - now);
    }
    list.push_back(std::move(row));
  }
  return list;
}

Json describe(const std::vector<PodState>& pods) {
  Json list = Json::array();
  for (const auto& pod : pods) {
    list.push_back({{"uid", pod.pod.uid},
                    {"pod", pod.pod.namespace_name + "/" + pod.pod.name},
                    {"serviceAccount", pod.pod.service_account},
                    {"state", pod.up ? "Up" : "Pending"},
                    {"connections", pod.inbound.size() + pod.outbound.size()}});
  }
  return list;
}

}  // namespace

std::string status(const Settings& settings, const StatusContents& contents) {
  Json json = Json::object();
  json["node"] = settings.node_name;
  json["version"] = contents.build.version;
  json["gitRevision"] = contents.build.git_revision;
  json["ready"] = contents.waiting_for.empty();
  json["waitingFor"] = contents.waiting_for;
  json["workers"] = {{"count", settings.worker_threads}, {"engine", contents.engine}};
  json["mesh"] = describe(settings, *contents.mesh);
  json["manifests"] = contents.manifests ? describe(settings, *contents.manifests, contents.counters) : Json();
  json["certificates"] = describe(contents.certificates, contents.now);
  json["pods"] = describe(contents.pods);
  return to_text(json) + "\n";
}

}  // namespace weft::ztunnel::dump
