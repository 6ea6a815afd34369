#include "cni-plugin/agent/plugin_server.h"

#include "lib/admin/metrics_page.h"
#include "lib/base/log.h"

namespace weft::cni::agent {
namespace {

constexpr const char* kTarget = "agent";
constexpr const char* kPluginTarget = "cni-plugin";

admin::Response answer(int status, std::string body) {
  admin::Response response;
  response.status = status;
  response.body = std::move(body);
  return response;
}

// A pod whose object has no UID is known by its name alone.
bool is_meant(const PodInfo& pod, const AddEvent& event) {
  return event.pod_uid.empty() || pod.uid == pod.full_name() || pod.has_uid(event.pod_uid);
}

void say(const PluginLine& line) {
  std::vector<log::Field> fields;
  for (const auto& [key, value] : line.labels) fields.push_back({key, value});
  log::write(line.level, kPluginTarget, line.message, fields.data(), fields.size());
}

}  // namespace

PluginServer::PluginServer(Loop& loop, PodSource& source, PodNetwork& network, Reconciler& reconciler, Metrics& metrics,
                           std::string host)
    : loop_(loop), source_(source), network_(network), reconciler_(reconciler), metrics_(metrics), host_(std::move(host)) {}

Task<admin::Response> PluginServer::plugin_request(admin::Request request, StopToken stop) {
  const bool removal = request.path == "/cmddel";
  if (request.path != "/cmdadd" && !removal) co_return answer(404, "no such page\n");
  if (request.method != "POST") co_return answer(405, "POST only\n");
  int status = 200;
  std::string text;
  auto event = parse_add_event(request.body);
  if (!event) {
    status = 400;
    text = event.error().message();
  } else {
    const auto name = event->pod_namespace + "/" + event->pod_name;
    auto work = removal ? let_go(std::move(*event), stop) : enrol(std::move(*event), stop);
    auto done = co_await std::move(work);
    if (!done) {
      status = 500;
      text = "pod " + name + (removal ? " is still served: " : " is not enrolled: ") + done.error().message();
    }
  }
  metrics_.plugin_requests.with({{"response_code", std::to_string(status)}}).add();
  if (status != 200) WEFT_LOG(kWarn, kTarget, "refused the cni plugin", {"status", std::to_string(status)}, {"error", text});
  co_return answer(status, std::move(text));
}

Task<Result<void>> PluginServer::enrol(AddEvent event, StopToken stop) {
  Deadline deadline(loop_, kAnswerLimit, stop);
  auto info = co_await look_up(event, deadline.token());
  if (!info) co_return fail(std::move(info).error());
  if (!info->wanted) {
    WEFT_LOG(kInfo, kTarget, "pod starts outside the mesh", {"pod", info->full_name()}, {"reason", info->reason});
    co_return Result<void>{};
  }
  if (info->ips.empty()) info->ips = event.ips;  // the source will have them later
  auto path = host_ + event.netns;
  auto netns = co_await network_.open(std::move(path));
  if (!netns) co_return fail(std::move(netns).error());
  auto added = co_await reconciler_.add(std::move(*info), std::move(*netns), deadline.token());
  co_return added;
}

Task<Result<void>> PluginServer::let_go(AddEvent event, StopToken stop) {
  Deadline deadline(loop_, kAnswerLimit, stop);
  NetnsId id;
  {
    auto path = host_ + event.netns;
    auto netns = co_await network_.open(std::move(path));
    if (!netns) co_return Result<void>{};  // gone already, or none
    id = (*netns)->id;
  }
  auto done = co_await reconciler_.let_go(event.pod_namespace + "/" + event.pod_name, id, deadline.token());
  co_return done;
}

Task<Result<PodInfo>> PluginServer::look_up(AddEvent event, StopToken stop) {
  for (int look = 0;; ++look) {
    source_.refresh();
    const auto* pod = source_.find(event.pod_namespace, event.pod_name);
    const bool other = pod && !is_meant(*pod, event);
    if (pod && !other && pod->wanted && !pod->finished) co_return *pod;
    if (pod && !other && pod->undecided && !pod->finished) {
      const auto known = reconciler_.pods().find(pod->uid);
      if (known != reconciler_.pods().end() && known->second->info.wanted) co_return known->second->info;
      if (look >= kLooks) co_return *pod;
    }
    if (look >= kLooks) {
      if (other) {
        co_return fail(ErrorCode::kNotFound,
                       "no such pod on this node: the one of that name has UID " + pod->uid + ", not " + event.pod_uid);
      }
      if (!pod) co_return fail(ErrorCode::kNotFound, "no such pod on this node");
      co_return fail(ErrorCode::kDenied,
                     "it does not belong into the mesh: " + (pod->finished ? "it has ended" : pod->reason));
    }
    auto slept = co_await sleep_for(loop_, kLookPause, stop);
    if (!slept) co_return fail(ErrorCode::kTimeout, "no such pod on this node yet");
  }
}

Task<admin::Response> PluginServer::log_request(admin::Request request, StopToken) {
  if (request.path != "/log") co_return answer(404, "no such page\n");
  if (request.method != "POST") co_return answer(405, "POST only\n");
  std::size_t dropped = 0;
  auto lines = parse_log_lines(request.body, dropped);
  if (!lines) co_return answer(400, lines.error().message());
  for (const auto& line : *lines) say(line);
  if (dropped > 0) WEFT_LOG(kWarn, kPluginTarget, "lines that cannot be read", {"count", std::to_string(dropped)});
  co_return answer(200, "");
}

Task<admin::Response> PluginServer::probe_request(admin::Request request, StopToken) {
  if (request.path == "/healthz") co_return answer(200, "ok\n");
  if (request.path != "/readyz") co_return answer(404, "no such page\n");
  co_return ready_ ? answer(200, "ready\n") : answer(503, "not ready\n");
}

Task<admin::Response> PluginServer::metrics_request(admin::Request request, StopToken) {
  if (request.path != "/metrics") co_return answer(404, "no such page\n");
  co_return admin::metrics_page(metrics_.registry, request);
}

}  // namespace weft::cni::agent
