// Sets of addresses for iptables' `-m set`, in the form of istio-cni: hash:ip with comments. Over netlink, without ipset(8).
// Everything acts on the network namespace of the calling thread. kUnsupported: the kernel has no such sets.
#pragma once

#include <string_view>

#include "cni-plugin/redirect/probes.h"
#include "cni-plugin/redirect/rules.h"

namespace weft::cni::redirect {

// The set exists and holds exactly the addresses of its family in `pods`: they change all at once.
Result<void> replace_ipset(std::string_view name, AddressFamily family, const ProbedPods& pods);
// What it holds. kNotFound when there is no such set.
Result<ProbedPods> list_ipset(std::string_view name);
// That there is none is no error. kIo when rules still use it.
Result<void> destroy_ipset(std::string_view name);

}  // namespace weft::cni::redirect
