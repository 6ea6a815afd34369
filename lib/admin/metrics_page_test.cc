#include "lib/admin/metrics_page.h"

#include <catch2/catch_test_macros.hpp>

using namespace weft;
using namespace weft::admin;

TEST_CASE("numbers come as OpenMetrics to who asks for that and as Prometheus's plain text to all others") {
  telemetry::Registry registry;
  registry.counters("opened", "Opened").with().add();
  struct Row {
    const char* accept;
    bool open_metrics;
  };
  for (const auto& row : {
           Row{"", false},
           Row{"*/*", false},
           Row{"text/plain", false},
           Row{"application/openmetrics-text", true},
           Row{"Application/OpenMetrics-Text;version=1.0.0", true},
           Row{"application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", true},
           Row{"text/plain,application/openmetrics-text;version=0.0.1;q=0.75", true},
           Row{"text/plain, application/openmetrics-text", false},  // not trimmed
           Row{"application/openmetrics-text2", false},
           Row{"application/openmetrics", false},
           Row{",,,", false},
       }) {
    INFO(row.accept);
    Request request;
    request.accept = row.accept;
    const auto page = metrics_page(registry, request);
    CHECK(page.status == 200);
    CHECK(page.content_type ==
          (row.open_metrics ? "application/openmetrics-text;charset=utf-8;version=1.0.0" : "text/plain; charset=utf-8"));
    CHECK(page.body == (row.open_metrics
                            ? "# HELP opened Opened.\n# TYPE opened counter\nopened_total 1\n# EOF\n"
                            : "# HELP opened_total Opened.\n# TYPE opened_total counter\nopened_total 1\n# EOF\n"));
  }
}
