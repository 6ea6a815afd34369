// The packet rules of a redirected pod, as facts; nft_text.h and iptables_text.h write them down. Pure.
//
// Three tables, each with a chain for packets that come in (prerouting) and one for those that the pod sends (output):
// nat decides where a new connection goes, mangle brings replies home, raw keeps what the proxy does apart from what the
// pod and its callers do in conntrack. Rules, order, names and marks are istio-cni's, in either form, so that either node
// agent replaces or removes what the other one left.
//
// How the marks work: the proxy's sockets carry packet mark 0x539 and pass untouched. When it delivers to the
// application with the caller's address, the looped packet passes prerouting with that mark and the connection is
// marked 0x111; the application's replies get that mark back in the output chain, and the ip rule for it
// (policy_route.h) routes them to `lo`, to the proxy, instead of out of the pod.
//
// NAT decides at the first packet that conntrack sees of a connection. For connections older than the rules that would
// be one from their middle, and redirecting it would reset them (istio-cni's rules do). Hence the mangle table comes
// first, under which conntrack sees every connection that begins; then conntrack is told of those that are open
// (conntrack.h); and then nat and raw come.
//
// Two things are our own addition. Bit 0x1000 of the connection mark is for connections that conntrack met under these
// rules: they are forgotten when the pod leaves the mesh, since an entry that outlives its connection would decide for a
// later one with the same ports. And what the proxy delivers has its caller's address and a port of its own choice, which
// may be the port of another connection of that caller to the same port of the pod: conntrack would take the two for one,
// and cut both (with istio-cni's rules it does). The way there is therefore in a zone of its own, kDeliveryZone; the way
// back differs anyway, since one is redirected and the other is not.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "cni-plugin/redirect/redirect.h"

namespace weft::cni::redirect {

inline constexpr std::uint32_t kProxyMark = 0x539;     // of the proxy's packets
inline constexpr std::uint32_t kReplyMark = 0x111;     // of connections the proxy opened inside the pod
inline constexpr std::uint32_t kMarkMask = 0xfff;      // of the two above
inline constexpr std::uint32_t kDecidedMark = 0x1000;  // of connections that met these rules
inline constexpr unsigned kProxyDnsZone = 1;           // conntrack zone of the proxy's own DNS
inline constexpr unsigned kDeliveryZone = 2;           // of what the proxy sends to the pod itself, that way only

enum class AddressFamily { kIpv4, kIpv6 };
enum class Table { kMangle, kNat, kRaw };
enum class Hook { kPrerouting, kOutput };
inline constexpr Hook kHooks[] = {Hook::kPrerouting, Hook::kOutput};

// All conditions that are set must hold.
struct Rule {
  enum class Protocol { kAny, kTcp, kUdp };
  enum class Interface { kAny, kLoopback, kNotLoopback };
  enum class Address { kAny, kProbe, kNotLoopback };  // kProbe: Options::probes; kNotLoopback: other than 127.0.0.1 or ::1
  enum class Mark { kAny, kProxy, kNotProxy, kReply };
  enum class Action {
    kAccept,
    kRedirect,      // to `port` of the pod
    kMarkReply,     // the connection gets kReplyMark
    kRestoreMark,   // the packet gets the connection's mark
    kMarkDecided,   // the connection gets kDecidedMark as well
    kProxyDnsZone,  // conntrack looks the packet up in zone kProxyDnsZone
    kDeliveryZone,  // the same, kDeliveryZone, should it be of the direction that began the connection
  };
  // Whether the rule is not istio-cni's. Then it belongs before the jump to istio-cni's chain and not into it: istio-cni
  // counts the rules of its chains.
  bool is_addition() const { return action == Action::kMarkDecided || action == Action::kDeliveryZone; }

  Hook hook{};
  Interface out = Interface::kAny;
  Protocol protocol = Protocol::kAny;
  Address from = Address::kAny, to = Address::kAny;
  std::uint16_t from_port = 0, to_port = 0, not_to_port = 0;  // 0: any; need a protocol
  Mark mark = Mark::kAny;                                     // of the packet
  bool is_reply = false;                                      // the connection has kReplyMark
  bool begins = false;                                        // conntrack has not met the connection before
  Action action{};
  std::uint16_t port = 0;
};

// The rules of a table in order of their chains; none: the table is not wanted.
std::vector<Rule> rules_of(Table table, const Options& options);
// Whether some of a table's `rules` belong into istio-cni's chain of that hook; else there is no such chain.
bool has_chain(const std::vector<Rule>& rules, Hook hook);
inline constexpr Table kTables[] = {Table::kMangle, Table::kNat, Table::kRaw};

}  // namespace weft::cni::redirect
