// Redirects a pod's TCP into the node proxy, inside the pod's own network namespace, and checks that it still is.
//
// What apply() installs, all of it inside the namespace:
//   - packet rules (nftables, ruleset.h): outgoing TCP to 15001, incoming TCP other than 15008 to 15006, except what the
//     proxy itself sends (mark 0x539), loopback and the node's health probes; with DNS capture port 53 to 15053;
//   - an ip rule and a local default route per address family, which bring replies to sockets that the proxy opened
//     with the client's address back to it;
//   - net.ipv4.tcp_migrate_req=1, so that a closing listener hands its queued connections to its SO_REUSEPORT sibling.
// Names, marks and ports are istio-cni's, so that its node agent and ours can take over each other's pods.
//
// Fails closed: the packet rules come last and as one transaction, so a namespace is redirected entirely or not at all.
// Once apply() has returned, no new connection leaves the pod past the proxy; if it failed, no packet rule has changed
// and the caller must refuse the pod. Connections that were open before the first apply() go on as they are, until they
// close.
//
// Every call blocks: it starts nft(8) and waits, some 10 ms, at most kNftTimeLimit a run. Call it off the loop.
// Thread-safe for different namespaces; calls about one namespace are the caller's to order. The calling thread never
// leaves its namespace: the work is done on a thread of its own. Needs CAP_SYS_ADMIN and CAP_NET_ADMIN, and `nft` in
// PATH or /usr/sbin or /sbin. Errors: kNotFound (no nft), kPermission, kTimeout, kUnsupported (a kernel module is
// missing), kIo; the message quotes nft.
#pragma once

#include <chrono>

#include "lib/base/fd.h"
#include "lib/base/ip.h"
#include "lib/base/result.h"

namespace weft::cni::redirect {

// nft takes milliseconds; a node that needs longer than this is not usable, and the CNI plugin waits 5 s in all.
inline constexpr std::chrono::milliseconds kNftTimeLimit{4000};

// Addresses that the node gives to health probes of the kubelet (probes.h), so that they reach the application
// unauthenticated. Unique in the mesh, not in the network: nobody routes them.
struct ProbeSource {
  IpAddress v4 = IpAddress::v4({169, 254, 7, 127});
  IpAddress v6 =
      IpAddress::v6({0xfd, 0x16, 0x92, 0x54, 0x71, 0x27, 0x13, 0x37, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
  friend bool operator==(const ProbeSource&, const ProbeSource&) = default;
};

struct Options {
  bool ipv6 = true;          // redirect IPv6 too, when the kernel has it
  bool dns_capture = false;  // port 53 goes to the proxy's DNS port
  ProbeSource probes{};
  friend bool operator==(const Options&, const Options&) = default;
};

// `netns` is an open network namespace. Idempotent: replaces whatever our tables hold, atomically, also under traffic.
Result<void> apply(const Fd& netns, const Options& options);

// Takes back everything but the sysctl; that nothing is there is no error.
Result<void> remove(const Fd& netns);

// True when rules, ip rules and routes are exactly those that apply() would install; false when one is missing, altered
// or added inside our tables. An error when that could not be found out, which the caller should treat as false.
Result<bool> verify(const Fd& netns, const Options& options);

}  // namespace weft::cni::redirect
