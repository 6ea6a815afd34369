// File descriptors, shared out: some are kept for the program itself, and no pod gets all of the rest.
//
// Every pod's sockets count against one process-wide limit (RLIMIT_NOFILE). A pod with more connections than its share is
// refused new ones at once, by a reset; the admin pages, the certificate authority and other pods never notice.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "ztunnel/limits/reasons.h"

namespace weft::ztunnel {

// Kept for listeners, status pages, files, namespaces and the control plane: a node has at most some hundred pods, with
// four descriptors each besides their connections.
inline constexpr std::uint64_t kDescriptorReserve = 1024;
// When the whole limit is small the reserve is a quarter of it.
inline constexpr std::uint64_t kDescriptorReservePart = 4;

// The process's, shared by all workers. Thread: any.
class Descriptors {
 public:
  // `limit`: RLIMIT_NOFILE. `pod_percent`: the part of what is not reserved that one pod may have.
  Descriptors(std::uint64_t limit, std::uint32_t pod_percent);

  std::uint64_t total() const { return total_; }
  std::uint64_t pod_max() const { return pod_max_; }
  std::uint64_t used() const { return used_.load(std::memory_order_relaxed); }

 private:
  friend class PodDescriptors;
  const std::uint64_t total_;
  const std::uint64_t pod_max_;
  std::atomic<std::uint64_t> used_ = 0;
};

// One pod's. Thread: the pod's worker. The process's outlives it.
class PodDescriptors {
 public:
  PodDescriptors(Descriptors& all, LimitCounters& counters) : all_(all), counters_(counters) {}

  // Given back when it is destroyed.
  class Hold {
   public:
    Hold() = default;
    Hold(Hold&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)), count_(other.count_) {}
    Hold& operator=(Hold&&) = delete;
    ~Hold() {
      if (owner_) owner_->give_back(count_);
    }
    explicit operator bool() const { return owner_ != nullptr; }

   private:
    friend class PodDescriptors;
    Hold(PodDescriptors* owner, std::uint32_t count) : owner_(owner), count_(count) {}
    PodDescriptors* owner_ = nullptr;
    std::uint32_t count_ = 0;
  };

  // Nothing when there are not `count` more; that is counted.
  Hold take(std::uint32_t count);
  std::uint64_t used() const { return used_; }

 private:
  void give_back(std::uint32_t count);

  Descriptors& all_;
  LimitCounters& counters_;
  std::uint64_t used_ = 0;
};

}  // namespace weft::ztunnel
