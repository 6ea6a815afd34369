#include "lib/linux/capabilities.h"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace weft::linux {
namespace {

constexpr std::uint16_t kPrivilegedPortsEnd = 1024;  // net.ipv4.ip_unprivileged_port_start, unless somebody changed it
constexpr unsigned kCapabilityBits = 64;

constexpr std::pair<unsigned, const char*> kNames[] = {{CAP_DAC_OVERRIDE, "dac_override"},
                                                       {CAP_DAC_READ_SEARCH, "dac_read_search"},
                                                       {CAP_NET_BIND_SERVICE, "net_bind_service"},
                                                       {CAP_NET_ADMIN, "net_admin"},
                                                       {CAP_NET_RAW, "net_raw"},
                                                       {CAP_SYS_PTRACE, "sys_ptrace"},
                                                       {CAP_SYS_ADMIN, "sys_admin"}};

std::string name_of(unsigned capability) {
  for (const auto& [number, name] : kNames) {
    if (number == capability) return name;
  }
  return std::to_string(capability);
}

// The three sets of a thread that one call reads or writes; version 3 has 64 bits in two halves.
struct Sets {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct halves[_LINUX_CAPABILITY_U32S_3]{};

  Result<void> read() {
    if (::syscall(SYS_capget, &header, halves) != 0) return fail_errno(errno, "capget");
    return {};
  }
  Result<void> write() {
    if (::syscall(SYS_capset, &header, halves) != 0) return fail_errno(errno, "capset");
    return {};
  }
  Capabilities effective() const {
    return Capabilities::of_bits(halves[0].effective | std::uint64_t{halves[1].effective} << 32);
  }
};

}  // namespace

std::string Capabilities::to_string() const {
  std::string text;
  for (unsigned member = 0; member < kCapabilityBits; ++member) {
    if (has(member)) text += (text.empty() ? "" : ",") + name_of(member);
  }
  return text.empty() ? "none" : text;
}

Capabilities capabilities_to_listen(std::initializer_list<std::uint16_t> ports) {
  const bool low = std::any_of(ports.begin(), ports.end(), [](auto port) { return port > 0 && port < kPrivilegedPortsEnd; });
  return low ? Capabilities{CAP_NET_BIND_SERVICE} : Capabilities{};
}

Result<Capabilities> effective_capabilities() {
  Sets sets;
  WEFT_TRY_VOID(sets.read());
  return sets.effective();
}

Capabilities first_in_force(std::initializer_list<unsigned> choices) {
  const auto held = effective_capabilities();
  Capabilities chosen;
  for (const unsigned choice : choices) {
    chosen = {choice};
    if (held && held->has(choice)) break;
  }
  return chosen;
}

Result<Capabilities> keep_capabilities(Capabilities keep, Capabilities for_programs) {
  // The kernel says EINVAL beyond the last one it knows.
  for (unsigned member = 0; member < kCapabilityBits && ::prctl(PR_CAPBSET_READ, member, 0, 0, 0) >= 0; ++member) {
    if (!for_programs.has(member)) (void)::prctl(PR_CAPBSET_DROP, member, 0, 0, 0);
  }
  Sets sets;
  WEFT_TRY_VOID(sets.read());
  for (unsigned half = 0; half < _LINUX_CAPABILITY_U32S_3; ++half) {
    const auto of_half = [half](Capabilities set) { return static_cast<std::uint32_t>(set.bits() >> (32 * half)); };
    sets.halves[half].effective &= of_half(keep);
    sets.halves[half].permitted &= of_half(keep);
    // The kernel cuts the ambient set to what is both permitted and inheritable.
    sets.halves[half].inheritable &= of_half(keep) & of_half(for_programs);
  }
  WEFT_TRY_VOID(sets.write());
  return sets.effective();
}

}  // namespace weft::linux
