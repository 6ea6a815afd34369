#include "cni-plugin/redirect/host_ruleset.h"

#include "lib/base/log.h"

namespace weft::cni::redirect {
namespace {

constexpr std::string_view kTable = "istio-ambient-nat";
// nft refuses longer ones; UIDs of Kubernetes have 36.
constexpr std::size_t kCommentMax = 120;

// UIDs come from outside, and the text is read as a program.
std::string comment(std::string_view uid) {
  std::string text(uid.substr(0, kCommentMax));
  for (char& c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!plain && std::string_view("-._/").find(c) == std::string_view::npos) c = '_';
  }
  return text;
}

void address_set(std::string& out, bool ipv6, const ProbedPods& pods) {
  out += fmt::format("\tset istio-inpod-probes-{} {{\n\t\ttype {}\n", ipv6 ? "v6" : "v4", ipv6 ? "ipv6_addr" : "ipv4_addr");
  std::string elements;
  for (const auto& [ip, uid] : pods) {
    if (ip.is_v6() == ipv6) elements += fmt::format("\t\t\t{} comment \"{}\",\n", ip.to_string(), comment(uid));
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

std::string host_install_text(const ProbeOptions& options, const ProbedPods& pods) {
  std::string out = host_remove_text();
  out += fmt::format("table inet {} {{\n", kTable);
  address_set(out, false, pods);
  if (options.ipv6) address_set(out, true, pods);
  out += "\tchain postrouting {\n\t\ttype nat hook postrouting priority 100; policy accept;\n";
  snat_rule(out, false, options);
  if (options.ipv6) snat_rule(out, true, options);
  return out + "\t}\n}\n";
}

// Deleting needs the table to be there, and adding it first makes sure.
std::string host_remove_text() { return fmt::format("table inet {0} {{\n}}\ndelete table inet {0}\n", kTable); }

std::string host_list_text() { return fmt::format("list table inet {}\n", kTable); }

}  // namespace weft::cni::redirect
