#include "lib/linux/limits.h"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>

namespace weft::linux {
namespace {

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// The smaller of two limits where 0 means none.
double tighter(double a, double b) {
  if (a <= 0) return b;
  if (b <= 0) return a;
  return std::min(a, b);
}

// Whether "cpu,cpuacct" names the controller of processor time; "cpuset" and "cpuacct" do not.
bool names_cpu(const std::string& controllers) { return ("," + controllers + ",").find(",cpu,") != std::string::npos; }

}  // namespace

// Lines of /proc/self/cgroup: "0::/path" (version 2), "4:cpu,cpuacct:/path" (version 1). In a container without a cgroup
// namespace the path is the host's while the container's own group is mounted at the root: the walk up ends there.
double cgroup_cpu_quota(const std::string& root) {
  double quota = 0;
  std::istringstream lines(read_text(root + "/proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const auto controllers = line.substr(first + 1, second - first - 1);
    const bool version2 = controllers.empty();
    if (!version2 && !names_cpu(controllers)) continue;
    const std::string mount = root + (version2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu");
    for (std::string path = line.substr(second + 1);;) {
      const auto folder = mount + (path == "/" ? "" : path);
      quota = tighter(quota, version2 ? parse_cpu_max(read_text(folder + "/cpu.max"))
                                      : parse_cpu_max(read_text(folder + "/cpu.cfs_quota_us") + " " +
                                                      read_text(folder + "/cpu.cfs_period_us")));
      if (path.empty() || path == "/") break;
      path.resize(path.rfind('/'));
    }
  }
  return quota;
}

Result<std::uint64_t> raise_open_files_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return fail_errno(errno, "getrlimit RLIMIT_NOFILE");
  if (limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return fail_errno(errno, "setrlimit RLIMIT_NOFILE");
  }
  return limit.rlim_cur;
}

double parse_cpu_max(std::string_view text) {
  double numbers[2] = {0, 0};
  const char* at = text.data();
  const char* end = at + text.size();
  for (double& number : numbers) {
    while (at < end && (*at == ' ' || *at == '\n')) ++at;
    const auto parsed = std::from_chars(at, end, number);
    if (parsed.ec != std::errc()) return 0;  // "max", or nothing there
    at = parsed.ptr;
  }
  return numbers[0] > 0 && numbers[1] > 0 ? numbers[0] / numbers[1] : 0;
}

unsigned usable_cpus(const std::string& root) {
  cpu_set_t set;
  CPU_ZERO(&set);
  int cpus = 1;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) cpus = std::max(1, CPU_COUNT(&set));
  const double quota = cgroup_cpu_quota(root);
  if (quota > 0) cpus = std::clamp(static_cast<int>(std::ceil(quota)), 1, cpus);
  return static_cast<unsigned>(cpus);
}

}  // namespace weft::linux
