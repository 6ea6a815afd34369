// The numbers of the node agent. Names without the prefix weft_ are istio-cni's.
#pragma once

#include "lib/telemetry/metrics.h"

namespace weft::cni::agent {

struct Metrics {
  telemetry::Registry registry;

  telemetry::CounterFamily& events =
      registry.counters("nodeagent_reconcile_events", "Changes of pods seen by the node agent");
  telemetry::Counter& pods_added = events.with({{"type", "add"}});
  telemetry::Counter& pods_updated = events.with({{"type", "update"}});
  telemetry::Counter& pods_deleted = events.with({{"type", "delete"}});
  telemetry::Gauge& ztunnels = registry.gauges("ztunnel_connected", "Node proxies connected to the node agent").with();
  telemetry::CounterFamily& plugin_requests =
      registry.counters("istio_cni_plugin_requests", "Requests of the CNI plugin, by the status they were answered with");
  telemetry::CounterFamily& refused_requests = registry.counters(
      "weft_http_refused_requests", "Requests to the node agent's own pages and sockets that were refused or given up");

  telemetry::GaugeFamily& pods = registry.gauges("weft_agent_pods", "Pods of this node by state");
  telemetry::Gauge& unenforced =
      registry
          .gauges("weft_agent_unenforced_pods",
                  "Pods that run, belong into the mesh, and are not known to be redirected to the node proxy")
          .with();
  telemetry::CounterFamily& steps = registry.counters("weft_agent_steps", "Steps of enrolling and releasing pods");
  telemetry::Counter& verifications =
      registry.counters("weft_agent_rule_verifications", "Times that the rules of an enrolled pod were looked at").with();
  telemetry::Counter& repairs =
      registry.counters("weft_agent_rule_repairs", "Times that rules of an enrolled pod were missing or altered").with();
  telemetry::CounterFamily& mark_looks =
      registry.counters("weft_agent_mark_looks",
                        "Looks for processes of an enrolled pod that use the node proxy's packet mark, by what was found");
  telemetry::Gauge& mark_using_pods =
      registry
          .gauges("weft_agent_mark_using_pods",
                  "Pods with a process that sends past the node proxy because it uses the proxy's packet mark")
          .with();
  telemetry::Counter& lost_namespaces =
      registry.counters("weft_agent_lost_namespaces", "Times that the network namespace of an enrolled pod went away")
          .with();
  telemetry::Gauge& probed_addresses =
      registry.gauges("weft_agent_probed_addresses", "Addresses of pods whose health probes are exempt").with();
  telemetry::CounterFamily& probe_writes =
      registry.counters("weft_agent_probe_rule_writes", "Times that the node's rules for health probes were written");
  telemetry::Counter& probe_repairs =
      registry.counters("weft_agent_probe_rule_repairs", "Times that the node's rules were missing or altered").with();
  telemetry::Gauge& unreadable_files =
      registry.gauges("weft_agent_unreadable_files", "Manifest files whose last good state is in use").with();
};

}  // namespace weft::cni::agent
