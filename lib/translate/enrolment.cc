#include "lib/translate/enrolment.h"

#include <algorithm>

namespace weft::translate {

std::vector<EnablementSelector> default_enablement_selectors() {
  return {
      {.pod = {.labels = {{kDataplaneModeLabel, "ambient"}}, .expressions = {}}, .namespace_ = {}},
      {.pod = {.labels = {}, .expressions = {{kDataplaneModeLabel, "NotIn", {"none"}}}},
       .namespace_ = {.labels = {{kDataplaneModeLabel, "ambient"}}, .expressions = {}}},
  };
}

std::string_view to_string(Enrolment enrolment) {
  switch (enrolment) {
    case Enrolment::kYes: return "enrolled";
    case Enrolment::kHostNetwork: return "host network";
    case Enrolment::kSidecar: return "has a sidecar";
    case Enrolment::kOptedOut: return "opted out";
    case Enrolment::kNotSelected: return "not selected";
    case Enrolment::kUndecided: return "namespace not described";
  }
  return "not selected";
}

manifest::Labels stored_namespace_labels(manifest::Labels labels, const std::string& name) {
  labels.emplace("kubernetes.io/metadata.name", name);
  return labels;
}

Enrolment decide_enrolment(const manifest::Meta& pod, bool host_network, const manifest::Labels& namespace_labels,
                           const std::vector<EnablementSelector>& enablement) {
  if (host_network) return Enrolment::kHostNetwork;
  if (pod.annotation(kSidecarStatusAnnotation)) return Enrolment::kSidecar;
  const auto stored = stored_namespace_labels(namespace_labels, pod.namespace_);
  const bool selected = std::any_of(enablement.begin(), enablement.end(), [&](const EnablementSelector& entry) {
    return entry.pod.matches(pod.labels) && entry.namespace_.matches(stored);
  });
  if (selected) return Enrolment::kYes;
  const auto* mode = pod.label(kDataplaneModeLabel);
  return mode && *mode == "none" ? Enrolment::kOptedOut : Enrolment::kNotSelected;
}

Enrolment decide_enrolment_alone(const manifest::Meta& pod, bool host_network,
                                 const std::vector<EnablementSelector>& enablement) {
  const auto decided = decide_enrolment(pod, host_network, {}, enablement);
  if (decided != Enrolment::kNotSelected && decided != Enrolment::kOptedOut) return decided;
  const bool open = std::ranges::any_of(enablement, [&](const auto& entry) { return entry.pod.matches(pod.labels); });
  return open ? Enrolment::kUndecided : decided;
}

}  // namespace weft::translate
