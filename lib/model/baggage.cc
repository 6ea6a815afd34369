#include "lib/model/baggage.h"

#include <algorithm>

namespace weft::model {
namespace {

constexpr std::size_t kBaggageMax = 8192;  // W3C Baggage §3.3.2

bool is_visible(char c) { return c >= 0x20 && c < 0x7f; }

std::string* slot(Baggage& baggage, std::string_view key) {
  if (key == "k8s.cluster.name") return &baggage.cluster;
  if (key == "k8s.namespace.name") return &baggage.namespace_name;
  if (key == "k8s.deployment.name" || key == "k8s.cronjob.name" || key == "k8s.pod.name" || key == "k8s.job.name")
    return &baggage.workload_name;
  if (key == "service.name") return &baggage.canonical_name;
  if (key == "service.version") return &baggage.canonical_revision;
  if (key == "cloud.region") return &baggage.region;
  if (key == "cloud.availability_zone") return &baggage.zone;
  return nullptr;
}

}  // namespace

std::string format_baggage(const Workload& workload) {
  std::string text;
  auto add = [&text](std::string_view key, std::string_view value) {
    const bool plain =
        std::all_of(value.begin(), value.end(), [](char c) { return is_visible(c) && c != ' ' && c != ',' && c != '='; });
    if (value.empty() || !plain || text.size() + key.size() + value.size() + 2 > kBaggageMax) return;
    if (!text.empty()) text += ',';
    text.append(key).append("=").append(value);
  };
  add("k8s.cluster.name", workload.cluster_id);
  add("k8s.namespace.name", workload.namespace_name);
  add("k8s." + std::string(to_string(workload.workload_type)) + ".name", workload.workload_name);
  add("service.name", workload.canonical_name);
  add("service.version", workload.canonical_revision);
  add("cloud.region", workload.locality.region);
  add("cloud.availability_zone", workload.locality.zone);
  return text;
}

Baggage parse_baggage(std::span<const std::string_view> fields) {
  std::size_t total = 0;
  for (const auto field : fields) {
    total += field.size();
    if (total > kBaggageMax || !std::all_of(field.begin(), field.end(), is_visible)) return {};
  }
  Baggage baggage;
  for (auto field : fields) {
    while (!field.empty()) {
      const auto comma = field.find(',');
      const auto part = field.substr(0, comma);
      field.remove_prefix(comma == field.npos ? field.size() : comma + 1);
      const auto equals = part.find('=');
      auto* value = slot(baggage, part.substr(0, equals));
      if (!value) continue;
      // Up to a second '=', as upstream reads it.
      const auto rest = equals == part.npos ? std::string_view{} : part.substr(equals + 1);
      value->assign(rest.substr(0, rest.find('=')));
    }
  }
  return baggage;
}

}  // namespace weft::model
