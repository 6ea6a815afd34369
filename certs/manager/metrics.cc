#include "certs/manager/metrics.h"

namespace weft::certs::manager {

Metrics::Metrics()
    : issued(registry.counters("weft_certs_issued", "Certificates issued").with()),
      refused(registry.counters("weft_certs_refused", "Certificate requests refused, by reason")),
      connections(registry.counters("weft_certs_connections", "Connections accepted").with()),
      connections_refused(
          registry.counters("weft_certs_connections_refused", "Connections closed because of a bound").with()),
      handshakes_failed(registry.counters("weft_certs_handshakes_failed", "Connections that did not complete TLS").with()),
      reload_errors(registry.counters("weft_certs_reload_errors", "Folders that could not be read or written, by folder")),
      connections_open(registry.gauges("weft_certs_connections_open", "Connections now open").with()),
      nodes(registry.gauges("weft_certs_nodes", "Nodes named by the manifests").with()),
      broken_manifests(
          registry.gauges("weft_certs_broken_manifests", "Manifest files whose last good state is used").with()),
      authority_stale(
          registry.gauges("weft_certs_authority_stale", "1 while the CA folder is unusable and its last good state signs")
              .with()),
      root_end(registry.gauges("weft_certs_root_expiry_timestamp_seconds", "When the first of the roots handed out expires")
                   .with()),
      root_left(
          registry.gauges("weft_certs_root_expiry_seconds", "Time until the first of the roots handed out expires").with()),
      signer_end(
          registry.gauges("weft_certs_signer_expiry_timestamp_seconds", "When the signing certificate expires").with()),
      serving_end(
          registry.gauges("weft_certs_serving_expiry_timestamp_seconds", "When the serving certificate expires").with()) {
  // Shown as zero from the start, so that the first refusal is a change.
  for (const char* reason : {"unauthenticated", "invalid_argument", "permission_denied", "internal", "unreadable"}) {
    refused.with({{"reason", reason}});
  }
  for (const char* folder : {"ca", "manifests", "tokens"}) reload_errors.with({{"folder", folder}});
}

}  // namespace weft::certs::manager
