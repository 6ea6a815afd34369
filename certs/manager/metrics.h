// The manager's numbers.
#pragma once

#include "lib/telemetry/metrics.h"

namespace weft::certs::manager {

struct Metrics {
  telemetry::Registry registry;

  telemetry::Counter& issued;
  // By reason: unauthenticated, invalid_argument, permission_denied, internal, unreadable.
  telemetry::CounterFamily& refused;
  // Set before each text is made.
  telemetry::Counter& connections;
  telemetry::Counter& connections_refused;
  telemetry::Counter& handshakes_failed;
  // By folder: ca, manifests, tokens.
  telemetry::CounterFamily& reload_errors;
  telemetry::Gauge& connections_open;
  telemetry::Gauge& nodes;
  telemetry::Gauge& broken_manifests;
  telemetry::Gauge& authority_stale;
  telemetry::Gauge& root_end;
  telemetry::Gauge& root_left;
  telemetry::Gauge& signer_end;
  telemetry::Gauge& serving_end;

  Metrics();
};

}  // namespace weft::certs::manager
