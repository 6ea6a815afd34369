#include "tests/sim/mesh_state.h"

#include <algorithm>

#include "lib/base/log.h"

namespace weft::simulation {
namespace {

std::string pod_path(const PodFacts& pod) { return "/state/pods/" + pod.name + ".yaml"; }

std::string pod_text(const PodFacts& pod) {
  return fmt::format(
      "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {0}\n  namespace: {1}\n  uid: {2}\n  labels:\n    app: {0}\n{3}"
      "spec:\n  nodeName: {4}\n  serviceAccountName: {5}\n"
      "status:\n  phase: Running\n  podIP: {6}\n  podIPs:\n  - ip: {6}\n  conditions:\n  - type: Ready\n    status: "
      "\"True\"\n",
      pod.name, pod.namespace_name, pod.uid, pod.labelled ? "    istio.io/dataplane-mode: ambient\n" : "",
      node_name(pod.node), pod.account, pod.ip.to_string());
}

std::string security_text(const MeshFacts& facts) {
  std::string text;
  for (const auto& name : facts.strict_namespaces) {
    text += fmt::format(
        "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata:\n  name: default\n  namespace: {}\n"
        "spec:\n  mtls:\n    mode: STRICT\n",
        name);
  }
  for (std::size_t i = 0; i < facts.policies.size(); ++i) {
    const auto& policy = facts.policies[i];
    text += fmt::format(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: policy-{}\n  namespace: {}\n"
        "spec:\n  action: {}\n",
        i, policy.namespace_name, policy.action == PolicyFacts::Action::kDeny ? "DENY" : "ALLOW");
    if (policy.selects)
      text += fmt::format("  selector:\n    matchLabels:\n      app: {}\n", facts.pods[*policy.selects].name);
    text += "  rules:\n  - from:\n    - source:\n";
    if (policy.from_pod) {
      const auto& pod = facts.pods[*policy.from_pod];
      text += fmt::format("        principals: [\"cluster.local/ns/{}/sa/{}\"]\n", pod.namespace_name, pod.account);
    } else {
      text += fmt::format("        namespaces: [\"{}\"]\n", policy.from_namespace);
    }
    if (policy.port) text += fmt::format("    to:\n    - operation:\n        ports: [\"{}\"]\n", *policy.port);
  }
  return text.empty() ? "# none\n" : text;
}

bool selects(const MeshFacts& facts, const PolicyFacts& policy, std::size_t to) {
  if (policy.selects) return *policy.selects == to;
  return policy.namespace_name == facts.pods[to].namespace_name;
}

// Who a caller is, is known of a tunnel only.
bool matches(const MeshFacts& facts, const PolicyFacts& policy, std::size_t from, std::uint16_t port, Way way) {
  if (policy.port && *policy.port != port) return false;
  if (way == Way::kPlain) return false;
  const auto& caller = facts.pods[from];
  if (!policy.from_pod) return policy.from_namespace == caller.namespace_name;
  const auto& wanted = facts.pods[*policy.from_pod];
  return wanted.namespace_name == caller.namespace_name && wanted.account == caller.account;
}

}  // namespace

bool MeshFacts::is_strict(const PodFacts& pod) const {
  return std::ranges::find(strict_namespaces, pod.namespace_name) != strict_namespaces.end();
}

bool may(const MeshFacts& facts, std::size_t from, std::size_t to, std::uint16_t port, Way way) {
  if (way == Way::kPlain && facts.is_strict(facts.pods[to])) return false;
  bool has_allow = false, allowed = false;
  for (const auto& policy : facts.policies) {
    if (!selects(facts, policy, to)) continue;
    const bool hit = matches(facts, policy, from, port, way);
    if (policy.action == PolicyFacts::Action::kDeny) {
      if (hit) return false;
    } else {
      has_allow = true;
      allowed = allowed || hit;
    }
  }
  return !has_allow || allowed;
}

std::string node_name(std::size_t node) { return node == 0 ? "node-a" : "node-b"; }

void write_manifests(sim::FileTree& tree, const MeshFacts& facts, const MeshFacts* before) {
  const auto put = [&](const std::string& path, std::string text) {
    const auto found = tree.files.find(path);
    if (found == tree.files.end() || found->second.content != text) tree.put(path, std::move(text));
  };
  if (!before) {
    for (const char* name : {"red", "blue"})
      put(fmt::format("/state/namespace-{}.yaml", name),
          fmt::format("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {}\n", name));
  }
  put("/state/security.yaml", security_text(facts));
  for (const auto& pod : facts.pods) {
    if (pod.exists)
      put(pod_path(pod), pod_text(pod));
    else if (tree.files.contains(pod_path(pod)))
      tree.erase(pod_path(pod));
  }
}

}  // namespace weft::simulation
