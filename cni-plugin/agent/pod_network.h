// What is done to and in network namespaces, the pods' and the node's, as the loop sees it: every call suspends and never
// blocks the loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cni-plugin/agent/mark_users.h"
#include "cni-plugin/agent/netns.h"
#include "cni-plugin/redirect/probes.h"
#include "lib/async/task.h"

namespace weft::cni::agent {

using NetnsScanPtr = std::shared_ptr<const NetnsScan>;

// Thread: the loop's. Calls cannot be stopped; each ends by itself within some seconds. Calls about one namespace come one
// after another.
class PodNetwork {
 public:
  virtual ~PodNetwork() = default;
  // As redirect::apply(), remove(), verify() and present() (cni-plugin/redirect). prepare(): everything but the redirection.
  virtual Task<Result<void>> redirect(NetnsPtr netns) = 0;
  virtual Task<Result<void>> prepare(NetnsPtr netns) = 0;
  virtual Task<Result<void>> release(NetnsPtr netns) = 0;
  virtual Task<Result<bool>> is_redirected(NetnsPtr netns) = 0;
  // As redirect::marked_sockets() and mark_users(), of the pod in `netns`.
  virtual Task<Result<std::vector<MarkUser>>> find_mark_users(NetnsPtr netns, PodProcesses pod) = 0;
  virtual Task<Result<bool>> has_rules(NetnsPtr netns) = 0;
  // As open_netns() and scan_netns().
  virtual Task<Result<NetnsPtr>> open(std::string path) = 0;
  virtual Task<Result<NetnsScanPtr>> scan() = 0;
  // As redirect::exempt_probes(), verify_probes() and remove_probes(), in the node's namespace. Those that change something
  // come one after another.
  virtual Task<Result<void>> exempt_probes(redirect::ProbedPods pods) = 0;
  virtual Task<Result<bool>> probes_are_exempt(redirect::ProbedPods pods) = 0;
  virtual Task<Result<void>> exempt_no_probes() = 0;
};

}  // namespace weft::cni::agent
