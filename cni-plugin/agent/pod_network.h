// What is done to and in pods' network namespaces, as the loop sees it: every call suspends and never blocks the loop.
#pragma once

#include <memory>
#include <string>

#include "cni-plugin/agent/netns.h"
#include "lib/async/task.h"

namespace weft::cni::agent {

using NetnsScanPtr = std::shared_ptr<const NetnsScan>;

// Thread: the loop's. Calls cannot be stopped; each ends by itself within some seconds. Calls about one namespace come one
// after another.
class PodNetwork {
 public:
  virtual ~PodNetwork() = default;
  // As redirect::apply(), remove() and verify() (cni-plugin/redirect).
  virtual Task<Result<void>> redirect(NetnsPtr netns) = 0;
  virtual Task<Result<void>> release(NetnsPtr netns) = 0;
  virtual Task<Result<bool>> is_redirected(NetnsPtr netns) = 0;
  // As open_netns() and scan_netns().
  virtual Task<Result<NetnsPtr>> open(std::string path) = 0;
  virtual Task<Result<NetnsScanPtr>> scan() = 0;
};

}  // namespace weft::cni::agent
