// What the translator must know besides the objects: the facts istiod takes from its own settings and mesh configuration.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "lib/manifest/object.h"

namespace weft::translate {

// One way into the mesh: both selectors must match, an empty one matches everything.
struct EnablementSelector {
  manifest::LabelSelector pod;
  manifest::LabelSelector namespace_;
};

// The selectors of Istio's chart: a pod labelled ambient; or a pod not labelled none in a namespace labelled ambient.
std::vector<EnablementSelector> default_enablement_selectors();

// What decides that a pod takes tunnels. With an API server the node agent writes an annotation when the pod's rules are in
// place; in a folder of files nobody writes, and the labels that make the agent act decide.
enum class TunnelEvidence { kLabels, kAnnotation };

struct Options {
  std::string cluster_id = "Kubernetes";
  std::string network;  // of the local cluster; empty: one flat network
  std::string trust_domain = "cluster.local";
  std::vector<std::string> trust_domain_aliases;  // other names of it in policies
  // The mesh's own namespace: where its configuration stands (mesh_config.h), and whose policies hold for the whole mesh,
  // unless that configuration names another for this.
  std::string root_namespace = "istio-system";
  std::string cluster_domain = "cluster.local";
  TunnelEvidence tunnel_evidence = TunnelEvidence::kLabels;
  // What a DENY rule does with HTTP attributes, which the node cannot see. As Istio: they are left out, which may leave a
  // rule that never fires. The closed alternative lets the rule fire without them.
  enum class HttpInDeny { kLeaveOut, kDeny };
  HttpInDeny http_in_deny = HttpInDeny::kLeaveOut;
  // Policies marked istio.io/dry-run: sent to be evaluated and logged, or, as istiod does by default, not sent.
  bool send_dry_run = false;
  // Who is in the mesh, as the node agents were told.
  std::vector<EnablementSelector> enablement = default_enablement_selectors();
  std::set<std::string> excluded_namespaces;
};

}  // namespace weft::translate
