// Whose health probes are exempt on this node (cni-plugin/redirect/probes.h): the addresses of the enrolled pods, kept in
// the kernel as they are here.
//
// The table is small, so every change writes it whole; changes that come during a write share the next one. An address is
// exempt as long as any pod has it: that of a pod which is going may already be another's. Nothing is flushed at start: the
// first write replaces what an earlier agent left by the pods that were enrolled then.
//
// Thread: the loop's. What is handed to the constructor outlives this.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cni-plugin/agent/metrics.h"
#include "cni-plugin/agent/pod_network.h"
#include "lib/async/event.h"

namespace weft::cni::agent {

class ProbeExemption {
 public:
  // As for pods' rules (reconciler.h).
  static constexpr Duration kVerifyInterval = std::chrono::seconds(15);
  static constexpr Duration kRetryPause = std::chrono::seconds(2);

  ProbeExemption(Loop& loop, PodNetwork& network, Metrics& metrics);

  // The pod was enrolled before this agent began: part of the next write.
  void adopt(const std::string& uid, const std::vector<IpAddress>& ips);
  // From here on the pod has exactly these addresses, none to forget it. Returns when the kernel knows, or with the error;
  // the change then stays wanted. kLimit, and no change, beyond kProbedAddressesMax.
  Task<Result<void>> set(std::string uid, std::vector<IpAddress> ips);

  // Writes the table, and from time to time makes sure of it, until `stop`. What is exempt stays.
  Task<void> run(StopToken stop);

 private:
  bool keep(const std::string& uid, const std::vector<IpAddress>& ips);
  std::size_t addresses() const;
  redirect::ProbedPods table() const;
  Task<Result<void>> bring_up_to_date();
  Task<void> verify();

  Loop& loop_;
  PodNetwork& network_;
  Metrics& metrics_;
  std::map<std::string, std::vector<IpAddress>> pods_;  // by UID
  std::uint64_t wanted_ = 1;                            // version of pods_
  std::uint64_t written_ = 0;                           // the version that the kernel has
  std::uint64_t failed_ = 0;                            // the last one that could not be written, and why
  Result<void> failure_;
  bool writing_ = false;
  Event done_;  // with a write
};

}  // namespace weft::cni::agent
