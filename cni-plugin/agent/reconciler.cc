#include "cni-plugin/agent/reconciler.h"

#include <algorithm>
#include <utility>

#include "lib/base/log.h"

namespace weft::cni::agent {
namespace {

constexpr const char* kTarget = "agent";

Duration retry_pause(unsigned failures) {
  Duration pause = Reconciler::kRetryMin;
  for (unsigned i = 1; i < failures && pause < Reconciler::kRetryMax; ++i) pause *= 2;
  return std::min(pause, Reconciler::kRetryMax);
}

}  // namespace

Reconciler::Reconciler(Loop& loop, io::PacketNetwork& packets, PodNetwork& network, Memory& memory, Metrics& metrics)
    : loop_(loop),
      network_(network),
      memory_(memory),
      metrics_(metrics),
      server_(loop, packets, *this),
      probes_(loop, network, metrics),
      scope_(loop),
      scanned_(loop) {
  metrics_.registry.before_text([this] { refresh_gauges(); });
}

Task<void> Reconciler::run(StopToken stop) {
  scope_.spawn(probes_.run(scope_.token()));
  co_await server_.run(stop);
  scope_.request_stop();
  co_await scope_.join();
}

void Reconciler::update(const PodSet& set) {
  known_ = set.left_out;
  for (const auto& info : set.pods) known_.merge(uids_of(info));
  outside_ = 0;
  std::vector<PodRecordPtr> added;  // all are known before one of them acts
  for (auto info : set.pods) {
    auto pod = store_.find(info.uid);
    // Enrolled before this agent began, perhaps, and nothing says that it is to leave.
    if (info.undecided && memory_.contains(info.uid)) info.wanted = true;
    if (pod && info.ips.empty()) info.ips = pod->info.ips;  // the plugin's, or those before the kubelet started again
    if (!pod && (info.finished || (!info.wanted && !memory_.contains(info.uid)))) {
      outside_ += info.finished ? 0 : 1;
      continue;
    }
    if (!pod) {
      added.push_back(insert(info));
      continue;
    }
    const Wish wish = info.finished || pod->let_go ? Wish::kGone : info.wanted ? Wish::kIn : Wish::kOut;
    if (pod->info == info && pod->wish == wish) continue;
    metrics_.pods_updated.add();
    pod->info = info;
    pod->since = loop_.now();
    set_wish(*pod, wish);
    pod->changed.set();
  }
  for (auto& pod : added) scope_.spawn(keep(std::move(pod)));
  complete_ = set.complete;
  if (!complete_) return;
  for (const auto& [uid, pod] : store_.pods()) {
    const bool let_go = pod->let_go;
    if (known_.contains(uid) || (pod->wish == Wish::kGone && !let_go)) continue;
    pod->let_go = false;
    metrics_.pods_deleted.add();
    set_wish(*pod, Wish::kGone);
    pod->changed.set();
  }
  // Pods that went while no agent ran.
  std::vector<std::string> stale;
  for (const auto& [uid, netns] : memory_.pods()) {
    if (!known_.contains(uid) && !store_.find(uid)) stale.push_back(uid);
  }
  for (const auto& uid : stale) {
    if (kept_.contains(uid)) {
      PodInfo info;
      info.uid = info.name = uid;
      info.finished = true;
      scope_.spawn(keep(insert(info)));
      continue;
    }
    auto forgotten = memory_.forget(uid);
    if (!forgotten) WEFT_LOG(kWarn, kTarget, "cannot write memory", {"error", forgotten.error().message()});
  }
}

PodRecordPtr Reconciler::insert(const PodInfo& info) {
  metrics_.pods_added.add();
  auto pod = std::make_shared<PodRecord>(loop_, info);
  pod->wish = info.finished ? Wish::kGone : info.wanted ? Wish::kIn : Wish::kOut;
  pod->since = loop_.now();
  if (memory_.contains(info.uid)) {
    pod->rules = Rules::kUnknown;
    pod->enrolled_before = info.wanted;
    if (info.wanted) probes_.adopt(info.uid, info.ips);
  }
  pod->told = kept_.erase(info.uid) > 0;
  store_.insert(pod);
  return pod;
}

void Reconciler::set_wish(PodRecord& pod, Wish wish) {
  if (pod.wish == wish) return;
  pod.wish = wish;
  pod.failures = 0;
  pod.error.clear();
}

Task<Result<void>> Reconciler::add(PodInfo info, NetnsPtr netns, StopToken stop) {
  if (scope_.stop_requested()) co_return fail(ErrorCode::kUnavailable, "the node agent is ending");
  auto pod = store_.find(info.uid);
  if (!pod) {
    pod = insert(info);
    scope_.spawn(keep(pod));
  }
  auto verdict = std::make_shared<Verdict>(loop_);
  if (pod->offer) {
    pod->offer->verdict->outcome = fail(ErrorCode::kCancelled, "asked for again meanwhile");
    pod->offer->verdict->done.set();
  }
  if (pod->info.ips.empty()) pod->info.ips = info.ips;
  if (std::exchange(pod->let_go, false)) set_wish(*pod, Wish::kIn);
  pod->offer = PodRecord::Offer{std::move(netns), verdict};
  pod->since = loop_.now();
  pod->changed.set();
  auto done = co_await verdict->done.wait(stop);
  if (!done) {
    const auto step = to_string(next_step(*pod, server_.newest()));
    co_return fail(ErrorCode::kTimeout, fmt::format("pod is not enrolled in time, next step: {}{}{}", step,
                                                    pod->error.empty() ? "" : "; ", pod->error));
  }
  co_return verdict->outcome;
}

Task<Result<void>> Reconciler::let_go(std::string full_name, NetnsId netns, StopToken stop) {
  PodRecordPtr pod;
  for (const auto& [uid, known] : store_.pods()) {
    if (known->info.full_name() == full_name && known->netns && known->netns->id == netns) pod = known;
  }
  if (!pod) co_return Result<void>{};
  WEFT_LOG(kInfo, kTarget, "pod is being removed", {"pod", pod->info.full_name()}, {"uid", pod->info.uid});
  pod->let_go = true;
  set_wish(*pod, Wish::kGone);
  pod->revoked.reset();
  pod->changed.set();
  if (!pod->told) co_return Result<void>{};
  auto revoked = co_await pod->revoked.wait(stop);
  if (!revoked) co_return fail(ErrorCode::kTimeout, "no answer from its proxies in time");
  co_return Result<void>{};
}

Task<void> Reconciler::keep(PodRecordPtr pod) {
  while (!scope_.stop_requested()) {
    if (std::exchange(pod->displaced, false)) {
      lose_namespace(*pod);
      if (!pod->lost) pod->revoked.set();
    }
    // What was lost is revoked first.
    if (!pod->lost && take_offer(*pod)) {
      co_await displace(pod);
      continue;
    }
    pod->changed.reset();
    const Step step = next_step(*pod, server_.newest());
    if (step == Step::kForget) break;
    if (step == Step::kNone) {
      settle_if_done(*pod);
      const Duration until_look(kVerifyInterval - Duration(loop_.random().below(kVerifyInterval.count() / 5)));
      const bool changed = co_await change_within(pod, until_look);
      if (!changed) co_await look_after(pod);
      continue;
    }
    auto done = co_await carry_out(step, pod);
    count(step, done);
    if (done) {
      pod->failures = 0;
      pod->error.clear();
      continue;
    }
    if (scope_.stop_requested()) break;
    failed(*pod, step, done.error());
    const bool changed = co_await change_within(pod, retry_pause(pod->failures));
    (void)changed;
  }
  take_offer(*pod);
  settle(*pod, fail(ErrorCode::kUnavailable,
                    scope_.stop_requested() ? "the node agent is ending" : "the pod does not belong into the mesh"));
  pod->revoked.set();
  if (scope_.stop_requested()) co_return;
  auto forgotten = memory_.forget(pod->info.uid);
  if (!forgotten) WEFT_LOG(kWarn, kTarget, "cannot write memory", {"error", forgotten.error().message()});
  store_.erase(pod->info.uid);
  WEFT_LOG(kInfo, kTarget, "pod left the mesh", {"pod", pod->info.full_name()}, {"uid", pod->info.uid});
}

Task<bool> Reconciler::change_within(PodRecordPtr pod, Duration limit) {
  Deadline deadline(loop_, limit, scope_.token());
  auto changed = co_await pod->changed.wait(deadline.token());
  co_return changed.has_value() || scope_.stop_requested();
}

Task<Result<void>> Reconciler::carry_out(Step step, PodRecordPtr pod) {
  switch (step) {
    case Step::kFind: {
      auto found = co_await find_namespace(pod);
      co_return found;
    }
    case Step::kRedirect: {
      auto redirected = co_await redirect(pod);
      co_return redirected;
    }
    case Step::kPrepare: {
      auto prepared = co_await prepare(pod);
      co_return prepared;
    }
    case Step::kVacate: {
      auto vacated = co_await vacate(pod);
      co_return vacated;
    }
    case Step::kRelease: {
      auto released = co_await network_.release(pod->netns);
      if (released) {
        pod->rules = Rules::kAbsent;
        pod->redirected = false;
        WEFT_LOG(kInfo, kTarget, "rules taken away", {"pod", pod->info.full_name()}, {"uid", pod->info.uid});
      }
      co_return released;
    }
    case Step::kAnnounce: {
      auto announced = co_await announce(pod);
      co_return announced;
    }
    case Step::kExempt: {
      auto exempted = co_await exempt(pod);
      co_return exempted;
    }
    case Step::kUnexempt: {
      auto ended = co_await unexempt(pod);
      co_return ended;
    }
    case Step::kRevoke: {
      auto revoked = co_await server_.remove(pod->info.uid, scope_.token());
      if (revoked) {
        pod->told = pod->lost = false;
        pod->acked_by = pod->replaying_to = 0;
        if (pod->let_go) lose_namespace(*pod);
        pod->revoked.set();
      }
      co_return revoked;
    }
    case Step::kNone:
    case Step::kForget: break;
  }
  co_return Result<void>{};
}

Result<void> Reconciler::remember(const PodRecord& pod) {
  auto remembered = memory_.remember(pod.info.uid, pod.netns->id);
  if (!remembered) return fail(std::move(remembered).error().within("remember the pod"));
  return {};
}

Task<Result<void>> Reconciler::prepare(PodRecordPtr pod) {
  if (pod->wish == Wish::kIn) {
    auto remembered = remember(*pod);
    if (!remembered) co_return remembered;
    // A pod new to us may be redirected all the same: its object was gone for a while, our memory is lost, or istio-cni
    // enrolled it. What is closed is not opened.
    if (pod->rules == Rules::kUnknown) {
      auto found = co_await network_.has_rules(pod->netns);
      if (!found || *found) {
        pod->redirected = true;
        co_return Result<void>{};
      }
    }
  }
  auto prepared = co_await network_.prepare(pod->netns);
  if (prepared) pod->rules = Rules::kPrepared;
  co_return prepared;
}

Task<Result<void>> Reconciler::redirect(PodRecordPtr pod) {
  auto remembered = remember(*pod);
  if (!remembered) co_return remembered;
  if (pod->rules == Rules::kUnknown) {
    auto present = co_await network_.is_redirected(pod->netns);
    if (present && *present) {
      pod->rules = Rules::kPresent;
      pod->redirected = true;
      co_return Result<void>{};
    }
  }
  auto applied = co_await network_.redirect(pod->netns);
  if (!applied) co_return applied;
  pod->rules = Rules::kPresent;
  pod->redirected = true;
  WEFT_LOG(kInfo, kTarget, "pod redirected", {"pod", pod->info.full_name()}, {"uid", pod->info.uid});
  co_return Result<void>{};
}

Task<Result<void>> Reconciler::announce(PodRecordPtr pod) {
  pod->told = true;
  auto identity = handover_of(pod->info);
  auto netns = handover_of(pod->netns);
  auto served = co_await server_.add(std::move(identity), std::move(netns), scope_.token());
  if (!served) co_return fail(std::move(served).error());
  pod->acked_by = *served;
  WEFT_LOG(kInfo, kTarget, "pod is served", {"pod", pod->info.full_name()}, {"uid", pod->info.uid});
  co_return Result<void>{};
}

Task<Result<void>> Reconciler::exempt(PodRecordPtr pod) {
  const auto ips = pod->info.ips;
  auto uid = pod->info.uid;
  auto addresses = ips;
  auto exempted = co_await probes_.set(std::move(uid), std::move(addresses));
  if (exempted) pod->probed = ips;
  co_return exempted;
}

Task<Result<void>> Reconciler::unexempt(PodRecordPtr pod) {
  if (pod->wish == Wish::kGone) lose_namespace(*pod);  // not held any longer, however long this takes
  auto uid = pod->info.uid;
  auto ended = co_await probes_.set(std::move(uid), {});
  if (!ended) co_return ended;
  pod->probed.clear();
  pod->enrolled_before = false;
  co_return Result<void>{};
}

void Reconciler::count(Step step, const Result<void>& outcome) {
  const auto code = outcome ? std::string("ok") : std::string(to_string(outcome.error().code()));
  metrics_.steps.with({{"step", std::string(to_string(step))}, {"outcome", code}}).add();
}

void Reconciler::failed(PodRecord& pod, Step step, const Error& error) {
  ++pod.failures;
  if (pod.error != error.message()) {
    WEFT_LOG(kWarn, kTarget, "pod is not where it should be", {"pod", pod.info.full_name()}, {"uid", pod.info.uid},
             {"step", std::string(to_string(step))}, {"error", error.message()});
  }
  pod.error = error.message();
  settle(pod, fail(Error(error)));
}

void Reconciler::settle(PodRecord& pod, Result<void> outcome) {
  if (!pod.waiting) return;
  pod.waiting->outcome = std::move(outcome);
  pod.waiting->done.set();
  pod.waiting = nullptr;
}

void Reconciler::settle_if_done(PodRecord& pod) {
  const auto newest = server_.newest();
  if (pod.served_by(newest)) {
    settle(pod, {});
  } else if (newest == 0) {
    settle(pod, fail(ErrorCode::kUnavailable, "no ztunnel connection"));
  }
}

std::vector<zds::SnapshotPod> Reconciler::snapshot(zds::LinkId link) {
  auto pods = store_.snapshot(link);
  if (complete_) return pods;
  // Of these it is not known whether they are there; their rules are, and their traffic would go nowhere.
  for (const auto& [uid, netns] : memory_.pods()) {
    if (store_.find(uid)) continue;
    zds::SnapshotPod kept;
    kept.pod.uid = uid;
    pods.push_back(std::move(kept));
    kept_.insert(uid);
  }
  return pods;
}

void Reconciler::answered(zds::LinkId link, const std::string& uid, Result<void> outcome) {
  auto pod = store_.find(uid);
  if (!pod || pod->replaying_to != link) return;
  pod->replaying_to = 0;
  if (outcome) {
    pod->acked_by = link;
  } else {
    failed(*pod, Step::kAnnounce, outcome.error());
  }
  pod->changed.set();
}

void Reconciler::links_changed(zds::LinkId newest, std::size_t count) {
  metrics_.ztunnels.set(static_cast<double>(count));
  for (const auto& [uid, pod] : store_.pods()) {
    if (pod->replaying_to != newest) pod->replaying_to = 0;
    pod->changed.set();
  }
}

void Reconciler::refresh_gauges() {
  std::size_t enrolled = 0, pending = 0, leaving = 0, unenforced = 0, mark_using = 0;
  for (const auto& [uid, pod] : store_.pods()) {
    auto& state = pod->wish != Wish::kIn ? leaving : pod->enrolled_with(server_.newest()) ? enrolled : pending;
    ++state;
    unenforced += pod->unenforced() ? 1 : 0;
    mark_using += pod->mark_users.empty() ? 0 : 1;
  }
  metrics_.pods.with({{"state", "enrolled"}}).set(static_cast<double>(enrolled));
  metrics_.pods.with({{"state", "pending"}}).set(static_cast<double>(pending));
  metrics_.pods.with({{"state", "leaving"}}).set(static_cast<double>(leaving));
  metrics_.pods.with({{"state", "outside"}}).set(static_cast<double>(outside_));
  metrics_.unenforced.set(static_cast<double>(unenforced));
  metrics_.mark_using_pods.set(static_cast<double>(mark_using));
}

}  // namespace weft::cni::agent
