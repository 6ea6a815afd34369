// Which namespace is a pod's, and whether it still is: the part of Reconciler that looks at the node's namespaces.
#include <algorithm>

#include "cni-plugin/agent/reconciler.h"
#include "lib/base/log.h"

namespace weft::cni::agent {
namespace {

constexpr const char* kTarget = "agent";

}  // namespace

PodRecordPtr Reconciler::holder_of(const NetnsId& netns, const PodRecord& asking) const {
  for (const auto& [uid, other] : store_.pods()) {
    if (other.get() != &asking && other->netns && other->netns->id == netns) return other;
  }
  return nullptr;
}

PodRecordPtr Reconciler::claimant_of(const NetnsCandidate& candidate, const PodRecord& asking) const {
  if (auto holder = holder_of(candidate.id, asking)) return holder;
  for (const auto& [uid, other] : store_.pods()) {
    if (other.get() == &asking || other->netns || other->wish == Wish::kGone) continue;
    if (memory_.namespace_of(uid) == candidate.id && holds_address(candidate, other->info) &&
        !is_anothers(candidate, other->info, known_))
      return other;
  }
  return nullptr;
}

Task<void> Reconciler::displace(PodRecordPtr pod) {
  while (!pod->displaced) {
    auto other = holder_of(pod->netns->id, *pod);
    if (!other) co_return;
    WEFT_LOG(kWarn, kTarget, "network namespace is another pod's, as the runtime says", {"pod", other->info.full_name()},
             {"uid", other->info.uid}, {"path", pod->netns->path}, {"owner", pod->info.full_name()});
    other->displaced = true;
    other->revoked.reset();
    other->changed.set();
    auto revoked = co_await other->revoked.wait(scope_.token());
    if (!revoked) co_return;
  }
}

Task<Result<void>> Reconciler::find_namespace(PodRecordPtr pod) {
  auto seen = co_await scan(std::max(pod->since, loop_.now() - kScanAge));
  if (!seen) co_return fail(std::move(seen).error());
  const auto remembered = memory_.namespace_of(pod->info.uid);
  auto match = match_netns(**seen, pod->info, remembered, known_);
  if (!match) co_return fail(std::move(match).error());
  const NetnsId wanted = (*match)->id;
  const Sign sign = sign_of(**seen, **match, pod->info, remembered, known_);
  auto path = (*match)->path;
  auto opened = co_await network_.open(std::move(path));
  if (!opened) co_return fail(std::move(opened).error());
  if ((*opened)->id != wanted) co_return fail(ErrorCode::kUnavailable, "the network namespace changed while it was opened");
  if (sign == Sign::kRemembered) {
    // A new namespace with the number of the old one has no rules.
    auto ours = co_await network_.has_rules(*opened);
    if (!ours) co_return fail(std::move(ours).error());
    if (!*ours) {
      co_return fail(ErrorCode::kDenied, "no process of pod " + pod->info.full_name() +
                                             " runs in the network namespace that has the number of the one it had");
    }
  }
  // An address tells less than that another pod has the namespace.
  if (const auto other = claimant_of(**match, *pod)) {
    co_return fail(ErrorCode::kDenied, "the network namespace that holds an address of pod " + pod->info.full_name() +
                                           " is that of pod " + other->info.full_name());
  }
  pod->netns = std::move(*opened);
  pod->found = true;
  // Rules of an earlier agent may be there.
  pod->rules = Rules::kUnknown;
  WEFT_LOG(kInfo, kTarget, "network namespace found", {"pod", pod->info.full_name()}, {"path", pod->netns->path});
  co_return Result<void>{};
}

bool Reconciler::is_of_nobody_here(const NetnsCandidate& candidate, const PodRecord& asking) const {
  return std::ranges::none_of(store_.pods(), [&](const auto& entry) {
    const auto& other = *entry.second;
    return &other != &asking && has_process_of(candidate, other.info);
  });
}

Task<Result<void>> Reconciler::vacate(PodRecordPtr pod) {
  const auto netns = pod->foreign;
  // Calls about a namespace come one after another: who has it from now on makes his rules after this.
  if (!holder_of(netns->id, *pod)) {
    auto released = co_await network_.release(netns);
    if (!released) co_return released;
    WEFT_LOG(kInfo, kTarget, "rules taken away from a pod outside the mesh", {"path", netns->path},
             {"instead_of", pod->info.full_name()});
  }
  if (pod->foreign == netns) pod->foreign = nullptr;
  co_return Result<void>{};
}

Task<void> Reconciler::look_after(PodRecordPtr pod) {
  if (pod->wish != Wish::kIn || !pod->netns || pod->rules != Rules::kPresent) co_return;
  metrics_.verifications.add();
  // One look at the node serves all its pods.
  auto seen = co_await scan(loop_.now() - kVerifyInterval);
  const auto is_anothers_now = [&](const NetnsCandidate& found) { return is_anothers(found, pod->info, known_); };
  if (const auto* found = seen ? (*seen)->find(pod->netns->id) : nullptr; seen && (!found || is_anothers_now(*found))) {
    // The scan may be older than the namespace, or than the first process of the pod in it; one that begins now is not.
    seen = co_await scan(loop_.now());
  }
  if (seen) {
    const auto* found = (*seen)->find(pod->netns->id);
    const bool anothers = found && is_anothers_now(*found);
    if (!found || anothers) {
      metrics_.lost_namespaces.add();
      WEFT_LOG(kWarn, kTarget,
               anothers ? "network namespace has processes of another pod only" : "network namespace is gone",
               {"pod", pod->info.full_name()}, {"path", pod->netns->path});
      if (anothers && pod->found && is_of_nobody_here(*found, *pod)) pod->foreign = pod->netns;
      lose_namespace(*pod);
      co_return;
    }
  }
  if (seen) co_await look_for_marks(pod, *seen);
  auto present = co_await network_.is_redirected(pod->netns);
  if (present && *present) co_return;
  metrics_.repairs.add();
  WEFT_LOG(kError, kTarget, "rules of a pod are missing or altered, repairing", {"pod", pod->info.full_name()},
           {"error", present ? "not as applied" : present.error().message()});
  pod->rules = Rules::kAbsent;
}

// Tells of a process once, not at every look, and of one in a line: who starts a new one each time gets a line each time.
Task<void> Reconciler::look_for_marks(PodRecordPtr pod, NetnsScanPtr seen) {
  auto suspects = processes_of(*seen, pod->info.uid, pod->netns->id);
  const bool blind = suspects.pids.empty();
  auto found = co_await network_.find_mark_users(pod->netns, std::move(suspects));
  const auto outcome = !found            ? to_string(found.error().code())
                       : !found->empty() ? std::string_view("users")
                       : blind           ? std::string_view("no_process")
                                         : std::string_view("none");
  metrics_.mark_looks.with({{"outcome", std::string(outcome)}}).add();
  const auto error = found ? std::string() : found.error().message();
  if (!error.empty() && error != pod->mark_error) {
    WEFT_LOG(kWarn, kTarget, "cannot see who uses the proxy's packet mark", {"pod", pod->info.full_name()},
             {"error", error});
  }
  pod->mark_error = error;
  if (!found) co_return;
  const auto before = std::exchange(pod->mark_users, std::move(*found));
  const auto known = [&before](const MarkUser& user) {
    return std::any_of(before.begin(), before.end(), [&user](const MarkUser& old) { return old.pid == user.pid; });
  };
  if (!std::all_of(pod->mark_users.begin(), pod->mark_users.end(), known)) {
    WEFT_LOG(kWarn, kTarget, "a process of a pod uses the proxy's packet mark, past the mesh",
             {"pod", pod->info.full_name()}, {"uid", pod->info.uid}, {"processes", to_string(pod->mark_users)});
  } else if (pod->mark_users.empty() && !before.empty()) {
    WEFT_LOG(kInfo, kTarget, "no process of the pod uses the proxy's packet mark any more", {"pod", pod->info.full_name()},
             {"uid", pod->info.uid});
  }
}

Task<Result<NetnsScanPtr>> Reconciler::scan(MonotonicTime not_before) {
  while (!last_scan_ || last_scan_began_ < not_before) {
    if (scanning_) {
      auto other = co_await scanned_.wait();
      (void)other;
      continue;
    }
    scanning_ = true;
    scanned_.reset();
    const auto began = loop_.now();
    auto done = co_await network_.scan();
    scanning_ = false;
    scanned_.set();
    if (!done) co_return done;
    last_scan_ = std::move(*done);
    last_scan_began_ = began;
  }
  co_return last_scan_;
}

}  // namespace weft::cni::agent
