// What rtnetlink contributes to redirection. Everything acts on the network namespace of the calling
// thread.
//
// Replies of the application to connections that the proxy opened with the caller's address carry mark 0x111. The ip
// rule `fwmark 0x111/0xfff lookup 100`, priority 32764, and table 100, which declares every address local on `lo`,
// bring them to the proxy's socket. Rule, table and priority are istio-cni's. Each address family is handled by itself.
#pragma once

#include "cni-plugin/redirect/rules.h"
#include "lib/base/result.h"

namespace weft::cni::redirect {

// `lo` is up: without it neither local routes nor redirected packets work.
Result<void> bring_up_loopback();

// Adds rule and route unless they are there.
Result<void> add_reply_route(AddressFamily family);
// That nothing is there, or the family is switched off, is no error.
Result<void> remove_reply_route(AddressFamily family);
Result<bool> has_reply_route(AddressFamily family);

}  // namespace weft::cni::redirect
