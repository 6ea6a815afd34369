// What this process may use: descriptors and processors.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "lib/base/result.h"

namespace weft::linux {

// Raises the soft limit of open files to the hard one and returns it.
Result<std::uint64_t> raise_open_files_limit();

// Processors this process can really use, at least 1: its affinity mask, cut by the cgroup's CPU quota (version 2
// cpu.max, version 1 cpu.cfs_quota_us) anywhere on the path to the root, rounded up. `root` as below.
unsigned usable_cpus(const std::string& root = "");

// The tightest quota, in processors, between this process's cgroup and the root; 0 when there is none. `root` is put before
// /proc/self/cgroup and /sys/fs/cgroup: "" outside tests.
double cgroup_cpu_quota(const std::string& root);

// The pure part: "150000 100000" (cpu.max) or two separate numbers; 0 for "no limit" or text that says nothing.
double parse_cpu_max(std::string_view text);

}  // namespace weft::linux
