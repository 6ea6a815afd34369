#include "ztunnel/limits/descriptors.h"

#include <algorithm>

namespace weft::ztunnel {

Descriptors::Descriptors(std::uint64_t limit, std::uint32_t pod_percent)
    : total_(limit - std::min(kDescriptorReserve, limit / kDescriptorReservePart)),
      pod_max_(std::max<std::uint64_t>(total_ * pod_percent / 100, 1)) {}

PodDescriptors::Hold PodDescriptors::take(std::uint32_t count) {
  if (used_ + count > all_.pod_max_) {
    counters_.count(LimitReason::kPodDescriptors);
    return {};
  }
  if (all_.used_.fetch_add(count, std::memory_order_relaxed) + count > all_.total_) {
    all_.used_.fetch_sub(count, std::memory_order_relaxed);
    counters_.count(LimitReason::kDescriptors);
    return {};
  }
  used_ += count;
  return {this, count};
}

void PodDescriptors::give_back(std::uint32_t count) {
  used_ -= count;
  all_.used_.fetch_sub(count, std::memory_order_relaxed);
}

}  // namespace weft::ztunnel
