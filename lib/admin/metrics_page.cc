#include "lib/admin/metrics_page.h"

#include <algorithm>
#include <cctype>

namespace weft::admin {
namespace {

constexpr std::string_view kOpenMetrics = "application/openmetrics-text";

bool accepts_open_metrics(std::string_view accept) {
  while (!accept.empty()) {
    const auto item = accept.substr(0, accept.find(','));
    accept.remove_prefix(std::min(accept.size(), item.size() + 1));
    std::string type(item.substr(0, item.find(';')));
    std::transform(type.begin(), type.end(), type.begin(), [](unsigned char c) { return std::tolower(c); });
    if (type == kOpenMetrics) return true;
  }
  return false;
}

}  // namespace

Response metrics_page(const telemetry::Registry& registry, const Request& request) {
  if (accepts_open_metrics(request.accept)) {
    return {.body = registry.text(telemetry::TextFormat::kOpenMetrics),
            .content_type = std::string(kOpenMetrics) + ";charset=utf-8;version=1.0.0"};
  }
  return {.body = registry.text(telemetry::TextFormat::kPrometheus)};
}

}  // namespace weft::admin
