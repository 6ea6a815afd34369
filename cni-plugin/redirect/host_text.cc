#include "cni-plugin/redirect/host_text.h"

#include "cni-plugin/redirect/lines.h"
#include "lib/base/log.h"

namespace weft::cni::redirect {
namespace {

constexpr std::string_view kTable = "istio-ambient-nat";
// nft refuses longer ones; UIDs of Kubernetes have 36.
constexpr std::size_t kCommentMax = 120;

void address_set(std::string& out, bool ipv6, const ProbedPods& pods) {
  out += fmt::format("\tset {} {{\n\t\ttype {}\n", probe_set(ipv6 ? AddressFamily::kIpv6 : AddressFamily::kIpv4),
                     ipv6 ? "ipv6_addr" : "ipv4_addr");
  std::string elements;
  for (const auto& [ip, uid] : pods) {
    if (ip.is_v6() == ipv6) elements += fmt::format("\t\t\t{} comment \"{}\",\n", ip.to_string(), probe_comment(uid));
  }
  if (!elements.empty()) out += "\t\telements = {\n" + elements + "\t\t}\n";
  out += "\t}\n";
}

// Connections of the node to itself are nobody's probes, even if somebody claims such an address for a pod.
void snat_rule(std::string& out, bool ipv6, const ProbeOptions& options) {
  out += fmt::format(
      "\t\toifname != \"lo\" meta l4proto tcp meta skuid {} {} daddr @istio-inpod-probes-{} counter snat {} to {}\n",
      options.kubelet, ipv6 ? "ip6" : "ip", ipv6 ? "v6" : "v4", ipv6 ? "ip6" : "ip",
      (ipv6 ? options.source.v6 : options.source.v4).to_string());
}

}  // namespace

std::string probe_comment(std::string_view uid) {
  std::string text(uid.substr(0, kCommentMax));
  for (char& c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!plain && std::string_view("-._/").find(c) == std::string_view::npos) c = '_';
  }
  return text;
}

std::string nft_host_install_text(const ProbeOptions& options, const ProbedPods& pods) {
  std::string out = nft_host_remove_text();
  out += fmt::format("table inet {} {{\n", kTable);
  address_set(out, false, pods);
  if (options.ipv6) address_set(out, true, pods);
  out += "\tchain postrouting {\n\t\ttype nat hook postrouting priority 100; policy accept;\n";
  snat_rule(out, false, options);
  if (options.ipv6) snat_rule(out, true, options);
  return out + "\t}\n}\n";
}

// Deleting needs the table to be there, and adding it first makes sure.
std::string nft_host_remove_text() { return fmt::format("table inet {0} {{\n}}\ndelete table inet {0}\n", kTable); }

std::string nft_host_list_text() { return fmt::format("list table inet {}\n", kTable); }

std::string_view probe_set(AddressFamily family) {
  return family == AddressFamily::kIpv4 ? "istio-inpod-probes-v4" : "istio-inpod-probes-v6";
}

HostChains parse_host_chains(std::string_view postrouting, std::string_view ours) {
  HostChains out;
  out.chain = ours;
  while (!postrouting.empty()) {
    auto line = next_line(postrouting);
    if (!line.starts_with("-A ")) continue;
    const auto rule = line.substr(3);
    for (auto word = next_word(line); !word.empty(); word = next_word(line)) {
      if ((word == "-j" || word == "-g") && next_word(line) == kHostChain) out.jumps.emplace_back(rule);
    }
  }
  return out;
}

// Any process of the node counts, as with istio-cni: iptables knows nothing of a user of packets that have none.
std::string iptables_host_install_text(const ProbeOptions& options, AddressFamily family, const HostChains& present) {
  std::string out = fmt::format("*nat\n:{} - [0:0]\n", kHostChain);
  for (const auto& jump : present.jumps) out += "-D " + jump + "\n";
  out += fmt::format("-I POSTROUTING 1 -j {}\n", kHostChain);
  const auto& source = family == AddressFamily::kIpv4 ? options.source.v4 : options.source.v6;
  out +=
      fmt::format("-A {} ! -o lo -p tcp -m owner --socket-exists -m set --match-set {} dst -j SNAT --to-source {}\nCOMMIT\n",
                  kHostChain, probe_set(family), source.to_string());
  return out;
}

std::string iptables_host_remove_text(const HostChains& present) {
  if (present.jumps.empty() && present.chain.empty()) return "";
  std::string out = "*nat\n";
  for (const auto& jump : present.jumps) out += "-D " + jump + "\n";
  if (!present.chain.empty()) out += fmt::format("-F {0}\n-X {0}\n", kHostChain);
  return out + "COMMIT\n";
}

}  // namespace weft::cni::redirect
