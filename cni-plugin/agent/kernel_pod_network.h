// PodNetwork on the kernel: blocking work, done on helper threads.
#pragma once

#include "cni-plugin/agent/pod_network.h"
#include "cni-plugin/redirect/redirect.h"
#include "lib/async/loop.h"

namespace weft::cni::agent {

class KernelPodNetwork final : public PodNetwork {
 public:
  // Work that somebody waits for runs on `urgent`, looking after pods on `background`; both are loops of threads that may
  // block, and run until every call has ended. `loop` is the caller's, `node` the node's namespace.
  KernelPodNetwork(Loop& loop, Loop& urgent, Loop& background, redirect::Options options, NetnsPlaces places, Fd node,
                   redirect::ProbeOptions probes)
      : loop_(loop),
        urgent_(urgent),
        background_(background),
        options_(options),
        places_(std::move(places)),
        node_(std::move(node)),
        probes_(probes) {}

  Task<Result<void>> redirect(NetnsPtr netns) override;
  Task<Result<void>> prepare(NetnsPtr netns) override;
  Task<Result<void>> release(NetnsPtr netns) override;
  Task<Result<bool>> is_redirected(NetnsPtr netns) override;
  Task<Result<std::vector<MarkUser>>> find_mark_users(NetnsPtr netns, PodProcesses pod) override;
  Task<Result<bool>> has_rules(NetnsPtr netns) override;
  Task<Result<NetnsPtr>> open(std::string path) override;
  Task<Result<NetnsScanPtr>> scan() override;
  Task<Result<void>> exempt_probes(redirect::ProbedPods pods) override;
  Task<Result<bool>> probes_are_exempt(redirect::ProbedPods pods) override;
  Task<Result<void>> exempt_no_probes() override;

 private:
  Loop& loop_;
  Loop& urgent_;
  Loop& background_;
  const redirect::Options options_;
  const NetnsPlaces places_;
  const Fd node_;
  Result<void> exempt(const redirect::ProbedPods& pods);

  const redirect::ProbeOptions probes_;
  bool took_over_ = false;  // what another back end held in the node's namespace is gone; of the urgent thread
};

}  // namespace weft::cni::agent
