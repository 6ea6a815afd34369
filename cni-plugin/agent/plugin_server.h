// What the node agent answers: the CNI plugin on its Unix sockets, probes and Prometheus over TCP.
//
//   pluginevent.sock  POST /cmdadd   enrol a pod; 200 when a proxy serves it, 400 for a bad body, 500 with the reason
//                     POST /cmddel   a pod's network goes: 200 once its proxies know, or when it is none of ours
//   log.sock          POST /log      lines of the plugin, written to our log
//   READINESS_PORT    GET  /healthz, /readyz
//   MONITORING_PORT   GET  /metrics
//
// Thread: the loop's.
#pragma once

#include <string>

#include "cni-plugin/agent/metrics.h"
#include "cni-plugin/agent/plugin_event.h"
#include "cni-plugin/agent/pod_network.h"
#include "cni-plugin/agent/pod_source.h"
#include "cni-plugin/agent/reconciler.h"
#include "lib/admin/server.h"

namespace weft::cni::agent {

class PluginServer {
 public:
  // The plugin gives up after 5 s; it shall hear the reason first.
  static constexpr Duration kAnswerLimit = std::chrono::milliseconds(4500);
  // The plugin may know of a pod before our source does; looked for every kLookPause, so often.
  static constexpr Duration kLookPause = std::chrono::milliseconds(100);
  static constexpr int kLooks = 15;

  // `host` is put before paths the plugin names: "" when we see the host's file system, "/host" in a container.
  PluginServer(Loop& loop, PodSource& source, PodNetwork& network, Reconciler& reconciler, Metrics& metrics,
               std::string host);

  Task<admin::Response> plugin_request(admin::Request request, StopToken stop);
  Task<admin::Response> log_request(admin::Request request, StopToken stop);
  Task<admin::Response> probe_request(admin::Request request, StopToken stop);
  Task<admin::Response> metrics_request(admin::Request request, StopToken stop);

  // What /readyz says.
  void set_ready(bool ready) { ready_ = ready; }

 private:
  Task<Result<void>> enrol(AddEvent event, StopToken stop);
  Task<Result<void>> let_go(AddEvent event, StopToken stop);
  // A copy of what the source knows of the pod, once it knows it and wants it.
  // Also, after a while, one that is not wanted as far as is known: what could decide is not there (PodInfo::undecided).
  // With another UID it is another pod of that name, an earlier one.
  Task<Result<PodInfo>> look_up(AddEvent event, StopToken stop);

  Loop& loop_;
  PodSource& source_;
  PodNetwork& network_;
  Reconciler& reconciler_;
  Metrics& metrics_;
  const std::string host_;
  bool ready_ = false;
};

}  // namespace weft::cni::agent
