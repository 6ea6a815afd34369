#include "cni-plugin/plugin/network_config.h"

#include <algorithm>

#include "cni-plugin/plugin/command.h"
#include "cni-plugin/plugin/json.h"
#include "lib/manifest/documents.h"
#include "lib/manifest/reader.h"

namespace weft::cni::plugin {
namespace {

using manifest::Reader;

// An operator outside the API would match nothing, and so leave a pod outside the mesh by a slip of the pen.
manifest::LabelSelector read_selector(const Reader& selector) {
  static constexpr std::string_view kOperators[] = {"In", "NotIn", "Exists", "DoesNotExist"};
  manifest::LabelSelector out;
  out.labels = selector.text_map("matchLabels");
  for (const auto& entry : selector.list("matchExpressions")) {
    out.expressions.push_back({entry.text("key"), entry.text("operator"), entry.texts("values")});
    const auto& op = out.expressions.back().op;
    if (std::find(std::begin(kOperators), std::end(kOperators), op) == std::end(kOperators)) {
      entry.problem(manifest::Level::kError, "InvalidValue", "\"" + op + "\" is not a valid label selector operator");
    }
  }
  return out;
}

}  // namespace

Result<NetworkConfig> read_network_config(std::string_view text) {
  const manifest::Limits limits{
      .bytes = kInputMax, .values = 500'000, .text_bytes = kInputMax, .documents = 1, .depth = kDepthMax};
  const auto documents = manifest::read_json(text, limits);
  if (documents.error) return fail(ErrorCode::kInvalidArgument, documents.error->message);
  if (documents.values.size() != 1 || !documents.values[0].is_map()) {
    return fail(ErrorCode::kInvalidArgument, "the network configuration is not an object");
  }
  manifest::Problems problems;
  const Reader config(&documents.values[0], "", &problems);
  NetworkConfig out;
  out.log_level = config.text("plugin_log_level");
  if (auto folder = config.text("cni_agent_run_dir"); !folder.empty()) out.agent_run_dir = std::move(folder);
  out.ambient_enabled = config.boolean("ambient_enabled");
  out.detection_retry = config.boolean("enable_ambient_detection_retry");
  out.pod_namespace = config.text("pod_namespace");
  out.manifest_dir = config.text("manifest_dir");
  for (auto& name : config.texts("exclude_namespaces")) out.exclude_namespaces.insert(std::move(name));
  if (config.any("enablement_selectors")) {
    out.enablement.clear();
    for (const auto& entry : config.list("enablement_selectors")) {
      if (entry && !entry.value()->is_map()) {
        entry.problem(manifest::Level::kError, "InvalidValue", "expected podSelector and namespaceSelector");
      }
      out.enablement.push_back({read_selector(entry.map("podSelector")), read_selector(entry.map("namespaceSelector"))});
    }
  }
  for (const auto& problem : problems.items()) {
    if (problem.level == manifest::Level::kError) {
      return fail(ErrorCode::kInvalidArgument, problem.path + ": " + problem.message);
    }
  }
  return out;
}

}  // namespace weft::cni::plugin
