#include "ztunnel/pods.h"

#include <algorithm>
#include <cerrno>

#include "lib/async/cross_thread.h"
#include "lib/base/log.h"

namespace weft::ztunnel {
namespace {

constexpr const char* kReadinessTask = "workload proxy manager";

}  // namespace

Pods::Pods(Loop& control, std::vector<Worker*> workers, admin::Readiness& readiness, telemetry::Registry& registry)
    : control_(control),
      workers_(std::move(workers)),
      readiness_(readiness),
      active_(registry.gauges("workload_manager_active_proxy_count", "The number of pods served (unstable)").with()),
      pending_count_(registry
                         .gauges("workload_manager_pending_proxy_count",
                                 "The number of pods whose proxy could not be started yet (unstable)")
                         .with()),
      started_(registry.counters("workload_manager_proxies_started", "The number of proxies started (unstable)").with()),
      stopped_(registry.counters("workload_manager_proxies_stopped", "The number of proxies stopped (unstable)").with()),
      load_(workers_.size()),
      unready_(readiness_.begin(kReadinessTask)),
      starting_(control, 1),
      retry_timer_([this] { scope_.spawn(retry()); }),
      scope_(control) {}

Pods::~Pods() = default;

Result<Pods::NamespaceId> Pods::identify(const Fd& netns) {
  struct stat info;
  if (::fstat(netns.get(), &info) != 0) return fail_errno(errno, "fstat of the pod's network namespace");
  return NamespaceId{info.st_dev, info.st_ino};
}

void Pods::connected() {
  snapshot_done_ = false;
  waiting_.clear();
  update();
}

void Pods::disconnected() {
  snapshot_done_ = false;
  update();
}

void Pods::forget(std::string uid) {
  waiting_.erase(uid);
  update();
}

Task<Result<void>> Pods::add(zds::Pod pod, Fd netns, StopToken stop) {
  // One that was removed before must not be ended behind its back.
  for (auto found = removing_.find(pod.uid); found != removing_.end(); found = removing_.find(pod.uid)) {
    const auto turn = found->second;
    auto came = co_await turn->wait(stop);
    if (!came) co_return fail(std::move(came).error());
  }
  auto permit = co_await starting_.acquire(stop);
  if (!permit) co_return fail(std::move(permit).error());
  waiting_.erase(pod.uid);
  auto started = co_await start(pod, netns);
  if (!started) {
    WEFT_LOG(kError, "inpod", "failed to start proxy, will retry", {"uid", pod.uid},
             {"pod", pod.namespace_name + "/" + pod.name}, {"error", started.error().message()});
    const std::string uid = pod.uid;
    waiting_.insert_or_assign(uid, Waiting{std::move(pod), std::move(netns)});
  }
  update();
  co_return started;
}

Task<Result<void>> Pods::start(zds::Pod pod, const Fd& netns) {
  if (draining_) co_return fail(ErrorCode::kCancelled, "the proxy is shutting down");
  auto id = identify(netns);
  if (!id) co_return fail(std::move(id).error());
  if (auto found = running_.find(pod.uid); found != running_.end()) {
    if (found->second.netns == *id) co_return Result<void>{};
    stop(pod.uid, DrainMode::kImmediate);
  }
  const auto worker = static_cast<std::size_t>(std::min_element(load_.begin(), load_.end()) - load_.begin());
  const Running running{*id, worker, ++proxies_};
  Worker& home = *workers_[worker];
  ++load_[worker];
  auto started =
      co_await call_on<Result<void>>(control_, home.loop(), [&] { return home.start_pod(running.proxy, pod, netns); });
  if (!started) {
    --load_[worker];
    co_return started;
  }
  started_.add();
  running_[pod.uid] = running;
  WEFT_LOG(kInfo, "inpod", "proxy started", {"uid", pod.uid}, {"pod", pod.namespace_name + "/" + pod.name},
           {"worker", fmt::to_string(worker), log::FieldKind::kNumber});
  co_return Result<void>{};
}

std::shared_ptr<Event> Pods::stop(const std::string& uid, DrainMode mode) {
  auto found = running_.find(uid);
  if (found == running_.end()) return nullptr;
  const Running running = found->second;
  running_.erase(found);
  --load_[running.worker];
  WEFT_LOG(kInfo, "inpod", "proxy stopping", {"uid", uid});
  auto gone = std::make_shared<Event>(control_);
  scope_.spawn(stop_proxy(running, mode, gone));
  return gone;
}

Task<void> Pods::stop_proxy(Running running, DrainMode mode, std::shared_ptr<Event> gone) {
  Worker& home = *workers_[running.worker];
  co_await call_on<void>(control_, home.loop(), [&] { return home.stop_pod(running.proxy, mode); });
  stopped_.add();
  gone->set();
}

Task<void> Pods::remove(std::string uid) {
  const auto turn = std::make_shared<Event>(control_);
  const auto gone = std::make_shared<Event>(control_);
  removing_.insert_or_assign(uid, turn);
  scope_.spawn(take_out(uid, turn, gone));
  Deadline deadline(control_, kRemovalMax, StopToken());
  auto ended = co_await gone->wait(deadline.token());
  if (!ended)
    WEFT_LOG(kWarn, "inpod", "a removed pod's connections have not ended yet, its rules and addresses may go before them",
             {"uid", uid});
}

Task<void> Pods::take_out(std::string uid, std::shared_ptr<Event> turn, std::shared_ptr<Event> gone) {
  std::shared_ptr<Event> stopped;
  {
    auto permit = co_await starting_.acquire(StopToken());
    waiting_.erase(uid);
    stopped = stop(uid, DrainMode::kImmediate);
    update();
    if (auto found = removing_.find(uid); found != removing_.end() && found->second == turn) removing_.erase(found);
    turn->set();
  }  // others may come and go meanwhile
  if (stopped) {
    auto ended = co_await stopped->wait();
    (void)ended;
  }
  gone->set();
}

Task<void> Pods::snapshot_done(std::set<std::string> named) {
  auto permit = co_await starting_.acquire(StopToken());
  std::vector<std::string> gone;
  for (const auto& [uid, running] : running_) {
    if (!named.contains(uid)) gone.push_back(uid);
  }
  for (const auto& uid : gone) stop(uid, DrainMode::kImmediate);
  std::erase_if(waiting_, [&named](const auto& entry) { return !named.contains(entry.first); });
  snapshot_done_ = true;
  update();
}

Task<void> Pods::retry() {
  std::vector<std::string> uids;
  for (const auto& [uid, waiting] : waiting_) uids.push_back(uid);
  for (const auto& uid : uids) {
    auto permit = co_await starting_.acquire(scope_.token());
    if (!permit) co_return;
    auto found = waiting_.find(uid);
    if (found == waiting_.end()) continue;
    Waiting waiting = std::move(found->second);
    waiting_.erase(found);
    auto started = co_await start(waiting.pod, waiting.netns);
    if (!started) {
      WEFT_LOG(kWarn, "inpod", "proxy still cannot be started", {"uid", uid}, {"error", started.error().message()});
      waiting_.try_emplace(uid, std::move(waiting));  // a newer attempt of the agent's stands
    }
  }
  update();
}

Task<Result<std::vector<PodState>>> Pods::describe(StopToken stop) {
  std::vector<PodState> states;
  if (draining_) co_return states;
  auto permit = co_await starting_.acquire(stop);
  if (!permit) co_return fail(std::move(permit).error());
  if (draining_) co_return states;  // from here on drain() waits for us, so the workers stay
  std::map<std::uint64_t, PodReport> reports;
  for (Worker* worker : workers_) {
    auto part = co_await call_on<std::vector<PodReport>>(control_, worker->loop(), [worker] { return worker->report(); });
    for (auto& report : part) reports.emplace(report.id, std::move(report));
  }
  for (const auto& [uid, waiting] : waiting_) states.push_back({waiting.pod, false, {}, {}});
  for (const auto& [uid, running] : running_) {
    auto found = reports.find(running.proxy);
    if (found == reports.end()) continue;
    auto& report = found->second;
    states.push_back({std::move(report.pod), true, std::move(report.inbound), std::move(report.outbound)});
  }
  std::ranges::sort(states, {}, [](const PodState& state) -> const std::string& { return state.pod.uid; });
  co_return std::move(states);
}

void Pods::update() {
  active_.set(static_cast<double>(running_.size()));
  pending_count_.set(static_cast<double>(waiting_.size()));
  if (!waiting_.empty() && !draining_ && !retry_timer_.armed()) control_.arm(retry_timer_, control_.now() + kRetryInterval);
  const bool ready = snapshot_done_ && waiting_.empty() && !draining_;
  if (ready) {
    unready_.reset();
  } else if (!unready_) {
    unready_.emplace(readiness_.begin(kReadinessTask));
  }
}

Task<void> Pods::drain() {
  draining_ = true;
  retry_timer_.cancel();
  auto permit = co_await starting_.acquire(StopToken());  // a proxy that is being started is among them
  waiting_.clear();
  std::vector<std::string> all;
  for (const auto& [uid, running] : running_) all.push_back(uid);
  for (const auto& uid : all) stop(uid, DrainMode::kGraceful);
  update();
  unready_->leave_pending();
  co_await scope_.join();
  update();
}

}  // namespace weft::ztunnel
