// Brings every pod of the node to where it should be, and keeps it there. Serves node proxies meanwhile.
//
// A pod that concerns us has one task (keep()): it takes the next step (pod_store.h) until there is none, waits for a
// change, and every kVerifyInterval looks after the pod's rules and for those who get past them. A step that fails is
// repeated with a growing pause, for ever; other pods are not held up. All that is known of a pod changes in its own task
// only, except for what proxies say.
//
// Fails closed: without a proxy, or when any step fails, whoever waits in add() gets the error, and the CNI plugin refuses
// to start the pod. A pod whose enrolment failed keeps the rules it has: its traffic goes nowhere rather than past the
// proxy.
//
// Thread: the loop's. What is handed to the constructor outlives the reconciler.
#pragma once

#include <set>
#include <string>

#include "cni-plugin/agent/memory.h"
#include "cni-plugin/agent/metrics.h"
#include "cni-plugin/agent/pod_network.h"
#include "cni-plugin/agent/pod_source.h"
#include "cni-plugin/agent/pod_store.h"
#include "cni-plugin/agent/probe_exemption.h"
#include "lib/async/scope.h"

namespace weft::cni::agent {

class Reconciler final : public zds::Owner {
 public:
  // How often an enrolled pod's rules are looked at, less up to a fifth: a repair comes before anybody has looked at a gauge
  // twice, and 250 pods cost one nft run in 60 ms.
  static constexpr Duration kVerifyInterval = std::chrono::seconds(15);
  static constexpr Duration kRetryMin = std::chrono::milliseconds(5);
  static constexpr Duration kRetryMax = std::chrono::seconds(5);
  // Pods whose namespace is looked for share a scan that is no older; a scan costs some 10 us a process of the node.
  static constexpr Duration kScanAge = std::chrono::seconds(1);

  Reconciler(Loop& loop, io::PacketNetwork& packets, PodNetwork& network, Memory& memory, Metrics& metrics);

  // The pods as they are now; the first call after memory was loaded.
  void update(const PodSet& set);
  // The CNI plugin brings a pod's namespace: waits until the pod is enrolled and a proxy serves it, or for the first error.
  // The work goes on when the caller stops waiting.
  Task<Result<void>> add(PodInfo info, NetnsPtr netns, StopToken stop);

  // The runtime takes the network of a pod away: waits until no proxy serves it there. Success when we know no such pod, or
  // know it in another namespace. The pod stays out until add() brings a new namespace, or it is another pod.
  Task<Result<void>> let_go(std::string full_name, NetnsId netns, StopToken stop);

  // Opens the socket for proxies.
  Result<void> listen(const std::string& zds_path) { return server_.listen(zds_path); }
  // Serves proxies until `stop`; ends when every step under way has ended. Rules stay where they are. Call after the first
  // update(): what a proxy is told follows from it.
  Task<void> run(StopToken stop);

  const std::map<std::string, PodRecordPtr>& pods() const { return store_.pods(); }
  zds::LinkId newest_proxy() const { return server_.newest(); }

 private:
  std::vector<zds::SnapshotPod> snapshot(zds::LinkId link) override;
  void answered(zds::LinkId link, const std::string& uid, Result<void> outcome) override;
  void links_changed(zds::LinkId newest, std::size_t count) override;

  PodRecordPtr insert(const PodInfo& info);  // the caller spawns keep()
  void set_wish(PodRecord& pod, Wish wish);
  Task<void> keep(PodRecordPtr pod);
  Task<Result<void>> carry_out(Step step, PodRecordPtr pod);
  Task<Result<void>> find_namespace(PodRecordPtr pod);
  // Another pod that has the namespace; for one found by its address also one that had it before and is still to find it.
  PodRecordPtr holder_of(const NetnsId& netns, const PodRecord& asking) const;
  PodRecordPtr claimant_of(const NetnsCandidate& candidate, const PodRecord& asking) const;
  // The plugin's word counts more than a scan's: who else was given the pod's namespace loses it, and its proxies know,
  // before the pod goes on.
  Task<void> displace(PodRecordPtr pod);
  Task<Result<void>> prepare(PodRecordPtr pod);
  Task<Result<void>> redirect(PodRecordPtr pod);
  // Takes our rules out of a namespace that turned out to be of a pod outside the mesh; of one in it they are its own.
  Task<Result<void>> vacate(PodRecordPtr pod);
  bool is_of_nobody_here(const NetnsCandidate& candidate, const PodRecord& asking) const;
  Result<void> remember(const PodRecord& pod);
  Task<Result<void>> announce(PodRecordPtr pod);
  Task<Result<void>> exempt(PodRecordPtr pod);
  Task<Result<void>> unexempt(PodRecordPtr pod);
  Task<void> look_after(PodRecordPtr pod);
  Task<void> look_for_marks(PodRecordPtr pod, NetnsScanPtr seen);
  Task<Result<NetnsScanPtr>> scan(MonotonicTime not_before);
  // Waits for a change of the pod, at most so long; false when it was time that passed.
  Task<bool> change_within(PodRecordPtr pod, Duration limit);
  void count(Step step, const Result<void>& outcome);
  void failed(PodRecord& pod, Step step, const Error& error);
  void settle(PodRecord& pod, Result<void> outcome);
  void settle_if_done(PodRecord& pod);
  void refresh_gauges();

  Loop& loop_;
  PodNetwork& network_;
  Memory& memory_;
  Metrics& metrics_;
  zds::Server server_;
  PodStore store_;
  ProbeExemption probes_;
  Scope scope_;
  std::set<std::string> known_;  // UIDs of all pods of the last set, those outside the mesh and those left out too
  std::size_t outside_ = 0;      // pods of the node that do not concern us
  bool complete_ = false;        // so was the last set
  // Pods that are only remembered, and that a proxy was told to keep because what the state says of them could not be read.
  std::set<std::string> kept_;
  NetnsScanPtr last_scan_;
  MonotonicTime last_scan_began_{};
  bool scanning_ = false;
  Event scanned_;
};

}  // namespace weft::cni::agent
