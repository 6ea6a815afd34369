#include "cni-plugin/agent/kernel_pod_network.h"

#include "lib/async/cross_thread.h"
#include "lib/base/log.h"

namespace weft::cni::agent {
namespace {

template <typename T>
Task<Result<T>> blocking(std::function<Result<T>()> work) {
  auto result = work();
  co_return std::move(result);
}

// Runs `work` on the thread of `there`.
template <typename T>
Task<Result<T>> run_on(Loop& here, Loop& there, std::function<Result<T>()> work) {
  std::function<Task<Result<T>>()> start = [work = std::move(work)] { return blocking<T>(work); };
  auto result = co_await call_on<Result<T>>(here, there, std::move(start));
  co_return std::move(result);
}

Result<NetnsScanPtr> scan_shared(const NetnsPlaces& places) {
  WEFT_TRY(auto scan, scan_netns(places));
  return std::make_shared<const NetnsScan>(std::move(scan));
}

Result<std::vector<MarkUser>> look_for_mark_users(const Netns& netns, const PodProcesses& pod, const NetnsPlaces& places) {
  WEFT_TRY(const auto sockets, redirect::marked_sockets(netns.fd));
  return mark_users(pod, sockets, places);
}

}  // namespace

Task<Result<void>> KernelPodNetwork::redirect(NetnsPtr netns) {
  return run_on<void>(loop_, urgent_, [netns, this] { return redirect::apply(netns->fd, options_); });
}

Task<Result<void>> KernelPodNetwork::prepare(NetnsPtr netns) {
  return run_on<void>(loop_, urgent_, [netns, this] {
    auto options = options_;
    options.redirecting = false;
    return redirect::apply(netns->fd, options);
  });
}

Task<Result<void>> KernelPodNetwork::release(NetnsPtr netns) {
  return run_on<void>(loop_, urgent_, [netns, this] { return redirect::remove(netns->fd, options_.backend); });
}

Task<Result<bool>> KernelPodNetwork::is_redirected(NetnsPtr netns) {
  return run_on<bool>(loop_, background_, [netns, this] { return redirect::verify(netns->fd, options_); });
}

Task<Result<std::vector<MarkUser>>> KernelPodNetwork::find_mark_users(NetnsPtr netns, PodProcesses pod) {
  return run_on<std::vector<MarkUser>>(
      loop_, background_, [netns, pod = std::move(pod), this] { return look_for_mark_users(*netns, pod, places_); });
}

Task<Result<bool>> KernelPodNetwork::has_rules(NetnsPtr netns) {
  return run_on<bool>(loop_, urgent_, [netns, this] { return redirect::present(netns->fd, options_.backend); });
}

Task<Result<NetnsPtr>> KernelPodNetwork::open(std::string path) {
  return run_on<NetnsPtr>(loop_, urgent_, [path = std::move(path), this] { return open_netns(path, places_); });
}

Task<Result<NetnsScanPtr>> KernelPodNetwork::scan() {
  return run_on<NetnsScanPtr>(loop_, background_, [this] { return scan_shared(places_); });
}

// What an earlier agent left in another back end is taken away once, when ours is there.
Result<void> KernelPodNetwork::exempt(const redirect::ProbedPods& pods) {
  WEFT_TRY_VOID(redirect::exempt_probes(node_, probes_, pods));
  if (took_over_) return {};
  if (auto removed = redirect::remove_other_probes(node_, probes_.backend); !removed) {
    WEFT_LOG(kWarn, "agent", "rules of another back end may stay on the node", {"error", removed.error().message()});
  }
  took_over_ = true;
  return {};
}

Task<Result<void>> KernelPodNetwork::exempt_probes(redirect::ProbedPods pods) {
  return run_on<void>(loop_, urgent_, [pods = std::move(pods), this] { return exempt(pods); });
}

Task<Result<bool>> KernelPodNetwork::probes_are_exempt(redirect::ProbedPods pods) {
  return run_on<bool>(loop_, background_,
                      [pods = std::move(pods), this] { return redirect::verify_probes(node_, probes_, pods); });
}

Task<Result<void>> KernelPodNetwork::exempt_no_probes() {
  return run_on<void>(loop_, urgent_, [this] { return redirect::remove_probes(node_, probes_.backend); });
}

}  // namespace weft::cni::agent
