// Should this pod be in the mesh? One pure answer for the CNI plugin, the node agent and the translator.
//
// Source: istio-cni's pod eligibility. Order: host network never; an injected sidecar never; then any enablement selector.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.h"
#include "lib/translate/options.h"

namespace weft::translate {

inline constexpr const char* kDataplaneModeLabel = "istio.io/dataplane-mode";
inline constexpr const char* kSidecarStatusAnnotation = "sidecar.istio.io/status";
// Of the object that stands for a static pod: the UID that kubelet and runtime know the pod by, which is not the object's.
inline constexpr const char* kStaticPodAnnotations[] = {"kubernetes.io/config.mirror", "kubernetes.io/config.hash"};
inline constexpr const char* kRedirectionAnnotation = "ambient.istio.io/redirection";

enum class Enrolment {
  kYes,
  kHostNetwork,  // shares the node's network namespace
  kSidecar,      // already has a proxy of its own
  kOptedOut,     // the pod's label says none in a namespace that is in the mesh
  kNotSelected,  // nothing asks for it
  kUndecided,    // the labels of its namespace would decide, and nobody describes that
};
std::string_view to_string(Enrolment enrolment);

// `namespace_labels` as the manifests have them; the label that the API server adds is matched too.
Enrolment decide_enrolment(const manifest::Meta& pod, bool host_network, const manifest::Labels& namespace_labels,
                           const std::vector<EnablementSelector>& enablement);

// Of a pod whose namespace nobody describes: kUndecided where labels of the namespace could take it into the mesh.
Enrolment decide_enrolment_alone(const manifest::Meta& pod, bool host_network,
                                 const std::vector<EnablementSelector>& enablement);

// With the default selectors.
inline Enrolment decide_enrolment(const manifest::Meta& pod, bool host_network, const manifest::Labels& namespace_labels) {
  return decide_enrolment(pod, host_network, namespace_labels, default_enablement_selectors());
}

// With the label that the API server puts on every namespace.
manifest::Labels stored_namespace_labels(manifest::Labels labels, const std::string& name);

// AMBIENT_ENABLEMENT_SELECTOR as the chart writes it: a YAML list, each item with podSelector and namespaceSelector. What it
// says beyond that is an error.
Result<std::vector<EnablementSelector>> parse_enablement(std::string_view yaml);
// EXCLUDE_NAMESPACES: names separated by commas; spaces around them and empty ones do not count.
std::set<std::string> parse_namespaces(std::string_view text);

}  // namespace weft::translate
