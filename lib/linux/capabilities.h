// What root may do, in parts (capabilities(7)), and giving up all that a program does not need.
#pragma once

#include <linux/capability.h>  // CAP_NET_ADMIN and its like

#include <cstdint>
#include <initializer_list>
#include <string>

#include "lib/base/result.h"

namespace weft::linux {

// A set of CAP_... numbers.
class Capabilities {
 public:
  constexpr Capabilities() = default;
  constexpr Capabilities(std::initializer_list<unsigned> members) {
    for (const unsigned member : members) bits_ |= std::uint64_t{1} << member;
  }
  static constexpr Capabilities of_bits(std::uint64_t bits) {
    Capabilities set;
    set.bits_ = bits;
    return set;
  }
  constexpr std::uint64_t bits() const { return bits_; }
  constexpr bool has(unsigned member) const { return (bits_ >> member & 1) != 0; }
  constexpr Capabilities operator|(Capabilities other) const { return of_bits(bits_ | other.bits_); }
  bool operator==(const Capabilities&) const = default;
  // "net_admin,sys_admin", or "none"; those that no program of ours keeps are numbers.
  std::string to_string() const;

 private:
  std::uint64_t bits_ = 0;
};

// What listening on these ports takes: CAP_NET_BIND_SERVICE when one is below 1024. 0 is no port.
Capabilities capabilities_to_listen(std::initializer_list<std::uint16_t> ports);

// Of the calling thread, in force now.
Result<Capabilities> effective_capabilities();
// Of capabilities that each allow what is needed, the first that is in force; the last when none is.
Capabilities first_in_force(std::initializer_list<unsigned> choices);

// The calling thread, and those that it starts from now on, keep of what they have nothing beyond `keep`, for good; the
// programs that it executes nothing beyond `for_programs`. What is to be kept and is not there is not missed here: whoever
// uses it says so. Returns what is in force. Cutting the bounding set takes CAP_SETPCAP; without it that set stays, which
// gives nothing to a process that has no_new_privs (refuse_system_calls()). Threads that run already keep what they have.
Result<Capabilities> keep_capabilities(Capabilities keep, Capabilities for_programs);

}  // namespace weft::linux
