#include "tests/sim/pod_network.h"

#include <sys/stat.h>

#include "lib/base/check.h"

namespace weft::simulation {
namespace {

constexpr std::uint32_t kProxyMark = 0x539;
const IpAddress kProbeSource = IpAddress::v4({169, 254, 7, 127});

cni::agent::NetnsId id_of(const Fd& fd) {
  struct stat status{};
  WEFT_CHECK(::fstat(fd.get(), &status) == 0);
  return {status.st_dev, status.st_ino};
}

// The decisions of cni-plugin/redirect/ruleset.cc for new connections.
std::optional<std::uint16_t> decide_output(const sim::Host& host, const sim::Flow& flow) {
  if ((flow.mark & 0xfff) == kProxyMark || flow.destination.ip() == kProbeSource) return std::nullopt;
  if (host.has(flow.destination.ip())) return std::nullopt;
  return 15001;
}

std::optional<std::uint16_t> decide_input(const sim::Flow& flow) {
  if (flow.source.ip() == kProbeSource || flow.destination.port() == 15008) return std::nullopt;
  return 15006;
}

}  // namespace

void PodNamespaces::add(sim::Internet& internet, const std::string& path, sim::Host& host,
                        std::vector<IpAddress> addresses) {
  by_path[path] = {&host, std::move(addresses), internet.namespace_of(host), {}};
}

Task<Result<void>> SimPodNetwork::work(const char* what) {
  const Duration taken = std::chrono::microseconds(500 + world_.random().below(20'000));
  auto slept = co_await sleep_for(loop_, taken, {});
  (void)slept;
  if (sim::killed(loop_)) co_return fail(ErrorCode::kCancelled, std::string(what) + ": the process was killed");
  if (spaces_.failing > 0 && world_.random().unit() < spaces_.failing)
    co_return fail(ErrorCode::kUnavailable, std::string(what) + ": netlink: No buffer space available");
  co_return Result<void>{};
}

sim::Host* SimPodNetwork::host_of(const cni::agent::Netns& netns) {
  for (auto& [path, space] : spaces_.by_path) {
    if (id_of(space.fd) == netns.id) return space.host;
  }
  return nullptr;
}

Task<Result<void>> SimPodNetwork::redirect(cni::agent::NetnsPtr netns) {
  auto worked = co_await work("redirect");
  if (!worked) co_return worked;
  if (auto* host = host_of(*netns)) {
    host->redirect_output([host](const sim::Flow& flow) { return decide_output(*host, flow); });
    host->redirect_input(decide_input);
  }
  co_return Result<void>{};
}

// The simulated network decides at the first packet alone, and brings replies home by itself.
Task<Result<void>> SimPodNetwork::prepare(cni::agent::NetnsPtr netns) { return release(std::move(netns)); }

Task<Result<void>> SimPodNetwork::release(cni::agent::NetnsPtr netns) {
  auto worked = co_await work("release");
  if (!worked) co_return worked;
  if (auto* host = host_of(*netns)) {
    host->redirect_output(nullptr);
    host->redirect_input(nullptr);
  }
  co_return Result<void>{};
}

Task<Result<bool>> SimPodNetwork::is_redirected(cni::agent::NetnsPtr netns) {
  auto worked = co_await work("verify");
  if (!worked) co_return fail(std::move(worked).error());
  auto* host = host_of(*netns);
  co_return !host || host->redirected();
}

Task<Result<std::vector<cni::agent::MarkUser>>> SimPodNetwork::find_mark_users(cni::agent::NetnsPtr,
                                                                               cni::agent::PodProcesses) {
  co_return std::vector<cni::agent::MarkUser>{};
}

Task<Result<bool>> SimPodNetwork::has_rules(cni::agent::NetnsPtr netns) { return is_redirected(std::move(netns)); }

Task<Result<cni::agent::NetnsPtr>> SimPodNetwork::open(std::string path) {
  auto worked = co_await work("open");
  if (!worked) co_return fail(std::move(worked).error());
  const auto found = spaces_.by_path.find(path);
  if (found == spaces_.by_path.end()) co_return fail(ErrorCode::kNotFound, "open " + path + ": no such file");
  cni::agent::Netns made{found->second.fd.duplicate(), id_of(found->second.fd), path};
  co_return std::make_shared<const cni::agent::Netns>(std::move(made));
}

Task<Result<cni::agent::NetnsScanPtr>> SimPodNetwork::scan() {
  auto scan = std::make_shared<cni::agent::NetnsScan>();
  auto worked = co_await work("scan");
  if (!worked) co_return fail(std::move(worked).error());
  for (const auto& [path, space] : spaces_.by_path) {
    cni::agent::NetnsCandidate candidate;
    candidate.id = id_of(space.fd);
    candidate.path = path;
    candidate.addresses = space.addresses;
    if (!space.uid.empty()) {
      candidate.pod_uids.insert(space.uid);
      scan->pod_uids.insert(space.uid);
      scan->processes.push_back({1, candidate.id, space.uid});
    }
    scan->found.push_back(std::move(candidate));
  }
  co_return scan;
}

Task<Result<void>> SimPodNetwork::exempt_probes(cni::redirect::ProbedPods pods) {
  auto worked = co_await work("exempt");
  if (worked) probed_ = std::move(pods);
  co_return worked;
}

Task<Result<bool>> SimPodNetwork::probes_are_exempt(cni::redirect::ProbedPods pods) {
  auto worked = co_await work("look at exemptions");
  if (!worked) co_return fail(std::move(worked).error());
  co_return probed_ == pods;
}

Task<Result<void>> SimPodNetwork::exempt_no_probes() {
  auto worked = co_await work("remove exemptions");
  if (worked) probed_.clear();
  co_return worked;
}

}  // namespace weft::simulation
