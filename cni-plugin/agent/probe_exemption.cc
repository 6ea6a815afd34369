#include "cni-plugin/agent/probe_exemption.h"

#include "lib/base/log.h"

namespace weft::cni::agent {
namespace {

constexpr const char* kTarget = "agent";

}  // namespace

ProbeExemption::ProbeExemption(Loop& loop, PodNetwork& network, Metrics& metrics)
    : loop_(loop), network_(network), metrics_(metrics), done_(loop) {
  metrics_.registry.before_text([this] { metrics_.probed_addresses.set(static_cast<double>(table().size())); });
}

// False when there are too many.
bool ProbeExemption::keep(const std::string& uid, const std::vector<IpAddress>& ips) {
  const auto known = pods_.find(uid);
  const auto before = known == pods_.end() ? std::vector<IpAddress>() : known->second;
  if (before == ips) return true;
  if (addresses() - before.size() + ips.size() > redirect::kProbedAddressesMax) return false;
  if (ips.empty()) {
    pods_.erase(known);
  } else {
    pods_[uid] = ips;
  }
  ++wanted_;
  return true;
}

std::size_t ProbeExemption::addresses() const {
  std::size_t count = 0;
  for (const auto& [uid, ips] : pods_) count += ips.size();
  return count;
}

redirect::ProbedPods ProbeExemption::table() const {
  redirect::ProbedPods result;
  for (const auto& [uid, ips] : pods_) {
    for (const auto& ip : ips) result.emplace(ip, uid);
  }
  return result;
}

void ProbeExemption::adopt(const std::string& uid, const std::vector<IpAddress>& ips) { (void)keep(uid, ips); }

Task<Result<void>> ProbeExemption::set(std::string uid, std::vector<IpAddress> ips) {
  if (!keep(uid, ips)) {
    co_return fail(ErrorCode::kLimit,
                   fmt::format("the pods of this node have more than {} addresses", redirect::kProbedAddressesMax));
  }
  if (failed_ == wanted_) ++wanted_;  // try again, and not share a failure of the past
  auto current = co_await bring_up_to_date();
  co_return current;
}

Task<Result<void>> ProbeExemption::bring_up_to_date() {
  const auto mine = wanted_;
  while (written_ < mine) {
    if (failed_ >= mine) co_return failure_;
    if (writing_) {
      auto other = co_await done_.wait();
      (void)other;
      continue;
    }
    writing_ = true;
    done_.reset();
    const auto version = wanted_;
    auto pods = table();
    auto outcome = co_await network_.exempt_probes(std::move(pods));
    writing_ = false;
    if (outcome) {
      written_ = version;
    } else {
      failed_ = version;
      failure_ = outcome;
    }
    const auto code = outcome ? std::string("ok") : std::string(to_string(outcome.error().code()));
    metrics_.probe_writes.with({{"outcome", code}}).add();
    done_.set();
  }
  co_return Result<void>{};
}

Task<void> ProbeExemption::run(StopToken stop) {
  while (!stop.stop_requested()) {
    if (failed_ == wanted_) ++wanted_;
    auto current = co_await bring_up_to_date();
    if (!current) {
      WEFT_LOG(kError, kTarget, "health probes of enrolled pods are not exempt", {"error", current.error().message()});
    }
    auto slept = co_await sleep_for(loop_, current ? kVerifyInterval : kRetryPause, stop);
    if (slept && current) co_await verify();
  }
}

Task<void> ProbeExemption::verify() {
  const auto version = wanted_;
  if (written_ != version) co_return;
  auto pods = table();
  auto right = co_await network_.probes_are_exempt(std::move(pods));
  // Changed meanwhile, so that one half of what was compared is old.
  if (version != wanted_ || (right && *right)) co_return;
  metrics_.probe_repairs.add();
  WEFT_LOG(kError, kTarget, "rules of the node are missing or altered, repairing",
           {"error", right ? "not as written" : right.error().message()});
  ++wanted_;
}

}  // namespace weft::cni::agent
