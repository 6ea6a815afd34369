// What the node agent does to namespaces, done to the simulated hosts of one node: rules come and go as a whole, after some
// milliseconds; both can be made to fail.
#pragma once

#include <map>
#include <string>

#include "cni-plugin/agent/pod_network.h"
#include "tests/support/sim/network.h"

namespace weft::simulation {

// The namespaces of one node; outlives agents.
struct PodNamespaces {
  struct Space {
    sim::Host* host = nullptr;
    std::vector<IpAddress> addresses;
    Fd fd;
    std::string uid;  // of the pod whose processes run there; empty before they do
  };
  std::map<std::string, Space> by_path;  // /run/netns/NAME
  double failing = 0;                    // chance that a call fails

  void add(sim::Internet& internet, const std::string& path, sim::Host& host, std::vector<IpAddress> addresses);
  void inhabit(const std::string& path, std::string uid) { by_path.at(path).uid = std::move(uid); }
  void remove(const std::string& path) { by_path.erase(path); }
};

// One agent's view of them.
class SimPodNetwork final : public cni::agent::PodNetwork {
 public:
  SimPodNetwork(sim::World& world, Loop& loop, PodNamespaces& spaces) : world_(world), loop_(loop), spaces_(spaces) {}

  Task<Result<void>> redirect(cni::agent::NetnsPtr netns) override;
  Task<Result<void>> prepare(cni::agent::NetnsPtr netns) override;
  Task<Result<void>> release(cni::agent::NetnsPtr netns) override;
  Task<Result<bool>> is_redirected(cni::agent::NetnsPtr netns) override;
  // The simulated applications set no marks.
  Task<Result<std::vector<cni::agent::MarkUser>>> find_mark_users(cni::agent::NetnsPtr netns,
                                                                  cni::agent::PodProcesses pod) override;
  Task<Result<bool>> has_rules(cni::agent::NetnsPtr netns) override;
  Task<Result<cni::agent::NetnsPtr>> open(std::string path) override;
  Task<Result<cni::agent::NetnsScanPtr>> scan() override;
  Task<Result<void>> exempt_probes(cni::redirect::ProbedPods pods) override;
  Task<Result<bool>> probes_are_exempt(cni::redirect::ProbedPods pods) override;
  Task<Result<void>> exempt_no_probes() override;

 private:
  // Takes the time that nft takes; then whether the call shall fail.
  Task<Result<void>> work(const char* what);
  sim::Host* host_of(const cni::agent::Netns& netns);

  sim::World& world_;
  Loop& loop_;
  PodNamespaces& spaces_;
  cni::redirect::ProbedPods probed_;
};

}  // namespace weft::simulation
