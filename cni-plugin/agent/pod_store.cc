#include "cni-plugin/agent/pod_store.h"

namespace weft::cni::agent {

std::string_view to_string(Step step) {
  switch (step) {
    case Step::kNone: return "none";
    case Step::kFind: return "find namespace";
    case Step::kRedirect: return "redirect";
    case Step::kPrepare: return "prepare";
    case Step::kRelease: return "take rules away";
    case Step::kVacate: return "take rules away from another pod";
    case Step::kAnnounce: return "announce to ztunnel";
    case Step::kExempt: return "exempt probes";
    case Step::kUnexempt: return "end exemption of probes";
    case Step::kRevoke: return "revoke at ztunnel";
    case Step::kForget: return "forget";
  }
  return "unknown";
}

Step next_step(const PodRecord& pod, zds::LinkId newest) {
  if (pod.wish == Wish::kOut && pod.rules != Rules::kAbsent) {
    if (!pod.netns) return Step::kFind;
    // The proxy ends the connections it carries while their ends still hear of it: without the rules nobody turns the
    // addresses back, and who waits for an answer would wait for ever. What fails on the way there delays nothing.
    if (!pod.told || pod.failures > 0) return Step::kRelease;
    return pod.rules == Rules::kPrepared ? Step::kRevoke : Step::kPrepare;
  }
  if (pod.wish != Wish::kIn) {
    // Proxies first: a node whose own rules cannot be changed must not keep them serving a pod that is gone.
    if (pod.told) return Step::kRevoke;
    if (pod.foreign) return Step::kVacate;
    if (pod.enrolled_before || !pod.probed.empty()) return Step::kUnexempt;
    return pod.let_go ? Step::kNone : Step::kForget;  // kept, lest it be found again
  }
  if (pod.lost) return Step::kRevoke;
  if (pod.foreign) return Step::kVacate;
  if (!pod.netns) return pod.info.ips.empty() ? Step::kNone : Step::kFind;
  const bool to_announce = newest != 0 && pod.acked_by != newest && pod.replaying_to != newest;
  // A pod that runs outside is redirected to a proxy that serves it already, so that no connection falls in between; if that
  // fails, or no proxy is there, its traffic is stopped all the same. Rules that redirected it once are never opened again.
  const bool enters_running = !pod.waiting && !pod.redirected && !pod.enrolled_before;
  if (pod.rules != Rules::kPresent && to_announce && enters_running && pod.failures == 0)
    return pod.rules == Rules::kPrepared ? Step::kAnnounce : Step::kPrepare;
  if (pod.rules != Rules::kPresent) return Step::kRedirect;
  if (to_announce) return Step::kAnnounce;
  // A pod once enrolled keeps its probes while no proxy is there, also for a new address; one that lost its addresses from
  // sight for a while keeps the old ones.
  const bool enrolled = pod.served_by(newest) || pod.enrolled_before || !pod.probed.empty();
  if (enrolled && !pod.info.ips.empty() && pod.probed != pod.info.ips) return Step::kExempt;
  return Step::kNone;
}

bool take_offer(PodRecord& pod) {
  if (!pod.offer) return false;
  auto offer = std::move(*pod.offer);
  pod.offer.reset();
  if (pod.waiting) {
    pod.waiting->outcome = fail(ErrorCode::kCancelled, "asked for again meanwhile");
    pod.waiting->done.set();
  }
  pod.waiting = std::move(offer.verdict);
  pod.failures = 0;
  pod.error.clear();
  pod.found = false;
  if (pod.foreign && pod.foreign->id == offer.netns->id) pod.foreign = nullptr;
  if (pod.netns && pod.netns->id == offer.netns->id) return false;
  // A new sandbox: a proxy that serves the old one replaces it when it is told of the new.
  pod.netns = std::move(offer.netns);
  pod.rules = Rules::kAbsent;
  pod.acked_by = pod.replaying_to = 0;
  pod.lost = false;
  return true;
}

void lose_namespace(PodRecord& pod) {
  pod.netns = nullptr;
  pod.mark_users.clear();
  pod.rules = Rules::kAbsent;
  pod.acked_by = pod.replaying_to = 0;
  pod.lost = pod.told;
}

PodRecordPtr PodStore::find(const std::string& uid) const {
  const auto found = pods_.find(uid);
  return found == pods_.end() ? nullptr : found->second;
}

std::vector<zds::SnapshotPod> PodStore::snapshot(zds::LinkId link) {
  std::vector<zds::SnapshotPod> result;
  for (const auto& [uid, pod] : pods_) {
    const bool out = pod->wish == Wish::kGone || pod->lost || (pod->wish == Wish::kOut && pod->rules == Rules::kAbsent);
    if (out) continue;
    const bool whole = pod->netns && (pod->wish == Wish::kOut || pod->rules == Rules::kPresent);
    result.push_back({handover_of(pod->info), whole ? handover_of(pod->netns) : nullptr});
    pod->told = true;
    if (whole) pod->replaying_to = link;
  }
  return result;
}

zds::Pod handover_of(const PodInfo& info) { return {info.uid, info.name, info.namespace_name, info.service_account}; }

zds::NetnsPtr handover_of(const NetnsPtr& netns) { return {netns, &netns->fd}; }

}  // namespace weft::cni::agent
