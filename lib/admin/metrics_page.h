// The page of numbers, in the format that its reader asks for: the same for every program.
//
// OpenMetrics when an Accept item's media type is exactly that, as ztunnel decides it (lower-cased, parameters cut off, not
// trimmed). Prometheus asks so. Everybody else gets Prometheus's plain text: upstream sends them OpenMetrics under the name
// of text/plain, whose counters `promtool check metrics` and older parsers then find without help and type. The samples are
// the same in both.
#pragma once

#include "lib/admin/server.h"
#include "lib/telemetry/metrics.h"

namespace weft::admin {

Response metrics_page(const telemetry::Registry& registry, const Request& request);

}  // namespace weft::admin
