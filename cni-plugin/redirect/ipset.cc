#include "cni-plugin/redirect/ipset.h"

#include <arpa/inet.h>
#include <linux/netfilter/ipset/ip_set.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>

#include "cni-plugin/redirect/host_text.h"
#include "cni-plugin/redirect/netlink.h"
#include "lib/base/log.h"

namespace weft::cni::redirect {
namespace {

constexpr std::uint8_t kProtocol = 6;  // the oldest that every kernel with comments speaks
constexpr std::uint8_t kRevision = 4;  // of hash:ip: comments came before it, with Linux 3.18 at the latest
constexpr const char* kType = "hash:ip";

NetlinkRequest request(int command, std::string_view name, AddressFamily family, std::uint16_t flags = 0) {
  nfgenmsg header{};
  header.nfgen_family = family == AddressFamily::kIpv4 ? AF_INET : AF_INET6;
  header.version = NFNETLINK_V0;
  NetlinkRequest out(static_cast<std::uint16_t>((NFNL_SUBSYS_IPSET << 8) | command), flags, header);
  out.attribute(IPSET_ATTR_PROTOCOL, kProtocol).text(IPSET_ATTR_SETNAME, name);
  return out;
}

// The kernel's answers to ipset are numbers of errno.h and, from 4096, its own.
Result<void> explained(Result<void> outcome, std::string_view name) {
  if (outcome) return outcome;
  const int code = outcome.error().os_error();
  if (code == EINVAL || code == EOPNOTSUPP || code == IPSET_ERR_FIND_TYPE) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("the kernel has no ipset of type {} with comments (ip_set, ip_set_hash_ip): {}", kType,
                            outcome.error().message()));
  }
  if (code == IPSET_ERR_TYPE_MISMATCH || code == EEXIST) {
    return fail(ErrorCode::kIo, fmt::format("the ipset {} exists and is no {} with comments; remove it", name, kType));
  }
  if (code == IPSET_ERR_BUSY) return fail(ErrorCode::kIo, fmt::format("the ipset {} is in use by rules", name));
  return outcome;
}

Result<void> create(Netlink& netlink, const std::string& name, AddressFamily family) {
  auto create = request(IPSET_CMD_CREATE, name, family, NLM_F_CREATE);
  create.text(IPSET_ATTR_TYPENAME, kType).attribute(IPSET_ATTR_REVISION, kRevision);
  create.attribute(IPSET_ATTR_FAMILY, static_cast<std::uint8_t>(family == AddressFamily::kIpv4 ? AF_INET : AF_INET6));
  create.nested(IPSET_ATTR_DATA, [](NetlinkRequest& data) {
    data.attribute(IPSET_ATTR_CADT_FLAGS | NLA_F_NET_BYTEORDER, htonl(IPSET_FLAG_WITH_COMMENT));
  });
  return netlink.execute(std::move(create), "create an ipset");
}

Result<void> destroy(Netlink& netlink, std::string_view name, AddressFamily family = AddressFamily::kIpv4) {
  auto destroyed = netlink.execute(request(IPSET_CMD_DESTROY, name, family), "destroy an ipset");
  if (!destroyed && destroyed.error().os_error() == ENOENT) return {};
  return destroyed;
}

Result<void> add(Netlink& netlink, std::string_view name, AddressFamily family, const IpAddress& ip,
                 const std::string& uid) {
  auto add = request(IPSET_CMD_ADD, name, family);
  add.nested(IPSET_ATTR_DATA, [&](NetlinkRequest& data) {
    data.nested(IPSET_ATTR_IP, [&](NetlinkRequest& address) {
      address.bytes((ip.is_v4() ? IPSET_ATTR_IPADDR_IPV4 : IPSET_ATTR_IPADDR_IPV6) | NLA_F_NET_BYTEORDER, ip.bytes());
    });
    data.text(IPSET_ATTR_COMMENT, probe_comment(uid));
  });
  return netlink.execute(std::move(add), "add to an ipset");
}

Result<void> swap(Netlink& netlink, std::string_view one, std::string_view other, AddressFamily family) {
  auto swap = request(IPSET_CMD_SWAP, one, family);
  swap.text(IPSET_ATTR_TYPENAME, other);  // where the protocol wants the second name
  return netlink.execute(std::move(swap), "swap two ipsets");
}

void read_element(std::span<const char> element, ProbedPods& out) {
  std::string comment;
  Result<IpAddress> ip = fail(ErrorCode::kNotFound, "no address");
  for_each_attribute(element, [&](std::uint16_t type, std::span<const char> value) {
    if (type == IPSET_ATTR_COMMENT) comment = std::string(value.data(), ::strnlen(value.data(), value.size()));
    if (type != IPSET_ATTR_IP) return;
    for_each_attribute(value, [&ip](std::uint16_t, std::span<const char> bytes) {
      ip = IpAddress::from_bytes({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
    });
  });
  if (ip) out[*ip] = comment;
}

}  // namespace

Result<void> replace_ipset(std::string_view name, AddressFamily family, const ProbedPods& pods) {
  WEFT_TRY(Netlink netlink, Netlink::open(NETLINK_NETFILTER));
  const std::string set(name), fresh = set + "-new";
  // One that was left half-way.
  WEFT_TRY_VOID(explained(destroy(netlink, fresh), fresh));
  WEFT_TRY_VOID(explained(create(netlink, fresh, family), fresh));
  auto filled = [&]() -> Result<void> {
    for (const auto& [ip, uid] : pods) {
      if (ip.is_v4() != (family == AddressFamily::kIpv4)) continue;
      WEFT_TRY_VOID(add(netlink, fresh, family, ip, uid));
    }
    auto created = create(netlink, set, family);
    if (!created && created.error().os_error() != EEXIST) return created;
    return swap(netlink, fresh, set, family);
  }();
  (void)destroy(netlink, fresh);  // now the old one
  return explained(std::move(filled), set);
}

Result<ProbedPods> list_ipset(std::string_view name) {
  WEFT_TRY(Netlink netlink, Netlink::open(NETLINK_NETFILTER));
  ProbedPods out;
  auto listed =
      netlink.list(request(IPSET_CMD_LIST, name, AddressFamily::kIpv4, NLM_F_DUMP), "list an ipset",
                   [&out](std::uint16_t, std::span<const char> payload) {
                     if (payload.size() < sizeof(nfgenmsg)) return;
                     for_each_attribute(payload.subspan(sizeof(nfgenmsg)), [&](std::uint16_t type, auto elements) {
                       if (type != IPSET_ATTR_ADT) return;
                       for_each_attribute(elements, [&](std::uint16_t, auto element) { read_element(element, out); });
                     });
                   });
  if (!listed && listed.error().os_error() == ENOENT) {
    return fail(ErrorCode::kNotFound, fmt::format("there is no ipset {}", name));
  }
  WEFT_TRY_VOID(explained(std::move(listed), name));
  return out;
}

Result<void> destroy_ipset(std::string_view name) {
  WEFT_TRY(Netlink netlink, Netlink::open(NETLINK_NETFILTER));
  return explained(destroy(netlink, name), name);
}

}  // namespace weft::cni::redirect
