// How many worker threads a proxy starts: a pure rule over settings, as upstream's ztunnel has it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/result.h"

namespace weft::runtime {

struct WorkerCountInputs {
  std::optional<std::string> worker_threads;        // ZTUNNEL_WORKER_THREADS: "4", "0" for all processors, "50%"
  std::optional<std::int64_t> concurrency;          // ProxyConfig; 0 for all processors
  std::optional<std::string> resource_cpu_limit;    // ZTUNNEL_RESOURCE_CPU_LIMIT: a Kubernetes quantity
  std::optional<std::string> resource_cpu_request;  // ZTUNNEL_RESOURCE_CPU_REQUEST: the same
  std::optional<std::string> cpu_limit;             // ZTUNNEL_CPU_LIMIT: a whole number
  unsigned usable_cpus = 1;                         // linux::usable_cpus()
};

// At least 1. kInvalidArgument names the setting that makes no sense.
Result<unsigned> worker_count(const WorkerCountInputs& inputs);

// Processors in a Kubernetes quantity, rounded up: "2" is 2, "1.5" and "1500m" are 2, "500m" is 1. Zero, negative and other
// units are kInvalidArgument.
Result<unsigned> cpus_in_quantity(std::string_view text);

}  // namespace weft::runtime
