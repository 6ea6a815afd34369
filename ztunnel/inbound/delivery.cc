#include "ztunnel/inbound/delivery.h"

#include "lib/base/log.h"
#include "lib/model/authorize.h"

namespace weft::ztunnel {
namespace {

void log_decision(const Settings& settings, const model::Verdict& verdict) {
  const auto level = settings.policy_info_logging ? log::Level::kInfo : log::Level::kDebug;
  if (!log::enabled(level, "rbac")) return;
  auto tell = [level](std::string_view message, const std::string& policy) {
    if (policy.empty()) return log::write(level, "rbac", message);
    log::write(level, "rbac", message, {{"policy", policy}});
  };
  for (const auto& policy : verdict.dry_run_matches)
    tell(policy->action == model::PolicyAction::kDeny ? "dry-run: deny policy match" : "dry-run: allow policy match",
         policy->key());
  if (verdict.dry_run_would_refuse) tell("dry-run: no allow policies match", {});
  if (!verdict.allowed) {
    tell(verdict.policy ? "deny policy match" : "no allow policies matched", verdict.policy ? verdict.policy->key() : "");
  } else {
    tell(verdict.policy ? "allow policy match" : "no allow policies, allow", verdict.policy ? verdict.policy->key() : "");
  }
}

}  // namespace

Judged::Judged(PodProxy& pod, SocketAddress source, SocketAddress destination, std::optional<model::Identity> peer,
               std::string destination_service)
    : pod_(pod), on_pod_stop_(pod.stop_token(), [this] { connection_.stop.request_stop(); }) {
  connection_.source = source;
  connection_.destination = destination;
  connection_.peer = std::move(peer);
  connection_.destination_service = std::move(destination_service);
  connection_.judged_by = pod.judgement();
  pod_.connections().add(connection_);
}

std::optional<std::string> Judged::refusal(const model::Workload& local) const {
  const auto verdict = model::authorize(
      pod_.snapshot(), local,
      {.source_ip = connection_.source.ip(), .peer = connection_.peer, .destination = connection_.destination});
  log_decision(pod_.settings(), verdict);
  if (verdict.allowed) return std::nullopt;
  return "connection closed due to policy rejection: " + verdict.reason();
}

Task<Result<io::StreamPtr>> connect_application(PodProxy& pod, SocketAddress caller, SocketAddress application,
                                                StopToken stop) {
  io::ConnectOptions options = pod.connect_options();
  // A pod that calls itself keeps its address anyway; addresses of two families cannot share a socket, and loopback talks to
  // nobody outside.
  if (pod.keeps_source() && caller.ip() != application.ip() && caller.ip().is_v4() == application.ip().is_v4() &&
      !application.ip().is_loopback())
    options.spoofed_source = caller.ip();
  Deadline deadline(pod.loop(), kConnectTimeout, stop);
  auto socket = co_await pod.network().connect(application, options, deadline.token());
  if (!socket) {
    Error error = deadline.explain(std::move(socket).error(), "connect to " + application.to_string());
    co_return fail(std::move(error).within("connection failed").on(Side::kUpstream));
  }
  co_return std::move(*socket);
}

void finish(AccessRecord& record, const io::PumpResult& copied, const Judged& judged) {
  if (judged.cut_by_policy()) {
    record.finish(Failure{ResponseFlag::kDeny, kClosedByPolicyChange});
  } else {
    record.finish(copied);
  }
}

}  // namespace weft::ztunnel
