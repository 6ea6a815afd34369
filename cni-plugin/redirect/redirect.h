// Redirects a pod's TCP into the node proxy, inside the pod's own network namespace, and checks that it still is.
//
// What apply() installs, all of it inside the namespace:
//   - packet rules (rules.h), by nftables or by iptables: outgoing TCP to 15001, incoming TCP other than 15008 to 15006,
//     except what the proxy itself sends (mark 0x539), loopback and the node's health probes; with DNS capture port 53 to
//     15053;
//   - an ip rule and a local default route per address family, which bring replies to sockets that the proxy opened
//     with the client's address back to it;
//   - net.ipv4.tcp_migrate_req=1, so that a closing listener hands its queued connections to its SO_REUSEPORT sibling.
// Names, marks and ports are istio-cni's, so that its node agent and ours can take over each other's pods.
//
// Fails closed: what redirects comes last, and what was installed is taken back when a part of it fails, so a namespace is
// redirected entirely or not at all. Once apply() has returned, no new connection leaves the pod past the proxy; if it
// failed, the caller must refuse the pod, and a pod that had rules keeps some. Connections that were open before the first
// apply() go on as they are, until they close.
//
// Every call blocks: it starts nft(8) or iptables-restore(8) and waits, some 10 to 30 ms, at most kCommandTimeLimit
// (command.h) a run. Call it off the loop. Thread-safe for different namespaces; calls about one namespace are the caller's
// to order. The calling thread never leaves its namespace: the work is done on a thread of its own. Needs CAP_SYS_ADMIN and
// CAP_NET_ADMIN, and the programs in PATH or /usr/sbin or /sbin. Errors: kNotFound (no such program), kPermission,
// kTimeout, kUnavailable (the lock of iptables is held), kUnsupported (a kernel module is missing), kIo; the message quotes
// the program.
#pragma once

#include <string>

#include "lib/base/fd.h"
#include "lib/base/ip.h"
#include "lib/base/result.h"

namespace weft::cni::redirect {

// Addresses that the node gives to health probes of the kubelet (probes.h), so that they reach the application
// unauthenticated. Unique in the mesh, not in the network: nobody routes them.
struct ProbeSource {
  IpAddress v4 = IpAddress::v4({169, 254, 7, 127});
  IpAddress v6 =
      IpAddress::v6({0xfd, 0x16, 0x92, 0x54, 0x71, 0x27, 0x13, 0x37, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
  friend bool operator==(const ProbeSource&, const ProbeSource&) = default;
};

// A program of iptables: name, with which those of its -save and -restore begin, and variant.
struct IptablesProgram {
  std::string name;     // "iptables-nft", "ip6tables-legacy", "iptables", ...
  bool legacy = false;  // it speaks to the kernel's old tables and not to nf_tables
  friend bool operator==(const IptablesProgram&, const IptablesProgram&) = default;
};

// Who keeps the rules; backend.h chooses.
struct Backend {
  enum class Kind { kNftables, kIptables };
  Kind kind = Kind::kNftables;
  // Of kIptables: the program of each family. An empty name: no IPv6, and Options::ipv6 is false.
  IptablesProgram v4{}, v6{};
  std::string to_string() const;  // "nftables", "iptables-nft and ip6tables-nft"
  friend bool operator==(const Backend&, const Backend&) = default;
};

struct Options {
  bool ipv6 = true;          // redirect IPv6 too, when the kernel has it
  bool dns_capture = false;  // port 53 goes to the proxy's DNS port
  ProbeSource probes{};
  Backend backend{};
  // False: everything but the redirection. What a proxy makes or carries works, and ends properly; connections that begin
  // are left alone. For a pod that is about to enter or to leave the mesh.
  bool redirecting = true;
  // What the proxy delivers has a conntrack zone of its own (rules.h). apply() leaves rules that are there without it
  // without it: the proxy's open connections would be strangers to conntrack in another zone.
  bool delivery_zone = true;
  friend bool operator==(const Options&, const Options&) = default;
};

// `netns` is an open network namespace. Idempotent: replaces whatever our tables hold, each atomically, also under traffic.
// Rules of the mesh that another back end holds go, after ours have come.
Result<void> apply(const Fd& netns, const Options& options);

// Takes back everything but the sysctl, whichever back end holds it; that nothing is there is no error.
Result<void> remove(const Fd& netns, const Backend& backend = {});

// True when rules, ip rules and routes are exactly those that apply() would leave; false when one is missing, altered
// or added inside our tables. An error when that could not be found out, which the caller should treat as false.
Result<bool> verify(const Fd& netns, const Options& options);

// True when packet rules of the mesh may be there, whole or not, in whatever form and by whomever: ours or istio-cni's.
// Where it cannot be found out they may be. An error when the namespace cannot be entered.
Result<bool> present(const Fd& netns, const Backend& backend);

}  // namespace weft::cni::redirect
