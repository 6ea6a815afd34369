#include "cni-plugin/redirect/nft_text.h"

#include <algorithm>
#include <map>

#include "cni-plugin/redirect/lines.h"
#include "lib/base/log.h"

namespace weft::cni::redirect {
namespace {

struct BaseChains {
  std::string_view table, prerouting, output;  // type of each hook's chain
  int priority;
};

BaseChains base_chains(Table table) {
  switch (table) {
    case Table::kMangle: return {"istio-ambient-mangle", "filter", "route", -150};
    case Table::kNat: return {"istio-ambient-nat", "nat", "nat", -100};
    case Table::kRaw: return {"istio-ambient-raw", "filter", "filter", -300};
  }
  return {};
}

std::string_view hook_name(Hook hook) { return hook == Hook::kPrerouting ? "prerouting" : "output"; }

bool depends_on_family(const Rule& rule) { return rule.from != Rule::Address::kAny || rule.to != Rule::Address::kAny; }

std::string address(std::string_view side, Rule::Address which, AddressFamily family, const Options& options) {
  const bool v4 = family == AddressFamily::kIpv4;
  const auto loopback = v4 ? "127.0.0.1" : "::1";
  switch (which) {
    case Rule::Address::kAny: return "";
    case Rule::Address::kProbe:
      return fmt::format("{} {} {} ", v4 ? "ip" : "ip6", side, (v4 ? options.probes.v4 : options.probes.v6).to_string());
    case Rule::Address::kNotLoopback: return fmt::format("{} {} != {} ", v4 ? "ip" : "ip6", side, loopback);
  }
  return "";
}

std::string protocol(const Rule& rule) {
  if (rule.protocol == Rule::Protocol::kAny) return "";
  const auto name = rule.protocol == Rule::Protocol::kTcp ? "tcp" : "udp";
  if (rule.from_port != 0) return fmt::format("{} sport {} ", name, rule.from_port);
  if (rule.to_port != 0) return fmt::format("{} dport {} ", name, rule.to_port);
  if (rule.not_to_port != 0) return fmt::format("{} dport != {} ", name, rule.not_to_port);
  return fmt::format("meta l4proto {} ", name);
}

std::string mark(Rule::Mark mark) {
  switch (mark) {
    case Rule::Mark::kAny: return "";
    case Rule::Mark::kProxy: return fmt::format("meta mark & {:#x} == {:#x} ", kMarkMask, kProxyMark);
    case Rule::Mark::kNotProxy: return fmt::format("meta mark & {:#x} != {:#x} ", kMarkMask, kProxyMark);
    case Rule::Mark::kReply: return fmt::format("meta mark & {:#x} == {:#x} ", kMarkMask, kReplyMark);
  }
  return "";
}

std::string action(const Rule& rule) {
  switch (rule.action) {
    case Rule::Action::kAccept: return "accept";
    case Rule::Action::kRedirect: return fmt::format("redirect to :{}", rule.port);
    case Rule::Action::kMarkReply: return fmt::format("ct mark set ct mark & {:#x} | {:#x}", ~kMarkMask, kReplyMark);
    case Rule::Action::kRestoreMark: return "meta mark set ct mark";
    case Rule::Action::kMarkDecided: return fmt::format("ct mark set ct mark | {:#x}", kDecidedMark);
    case Rule::Action::kProxyDnsZone: return fmt::format("ct zone set {}", kProxyDnsZone);
    case Rule::Action::kDeliveryZone: return fmt::format("ct original zone set {}", kDeliveryZone);
  }
  return "";
}

void write_rule(std::string& out, const Rule& rule, AddressFamily family, const Options& options) {
  out += "\t\t";
  if (rule.out == Rule::Interface::kLoopback) out += "oifname \"lo\" ";
  if (rule.out == Rule::Interface::kNotLoopback) out += "oifname != \"lo\" ";
  out += protocol(rule) + address("saddr", rule.from, family, options) + address("daddr", rule.to, family, options);
  out += mark(rule.mark);
  if (rule.is_reply) out += fmt::format("ct mark & {:#x} == {:#x} ", kMarkMask, kReplyMark);
  if (rule.begins) out += "ct state new ";
  out += "counter " + action(rule) + "\n";
}

// Rules about addresses once for each family.
void write_rules(std::string& out, const std::vector<Rule>& rules, Hook hook, bool before_jump, const Options& options) {
  for (const auto& rule : rules) {
    if (rule.hook != hook || rule.is_addition() != before_jump) continue;
    write_rule(out, rule, AddressFamily::kIpv4, options);
    if (options.ipv6 && depends_on_family(rule)) write_rule(out, rule, AddressFamily::kIpv6, options);
  }
}

// Deleting needs the table to be there, and adding it first makes sure.
void clear_table(std::string& out, Table table) {
  out += fmt::format("table inet {0} {{\n}}\ndelete table inet {0}\n", base_chains(table).table);
}

void replace_table(std::string& out, Table table, const Options& options) {
  clear_table(out, table);
  const auto rules = rules_of(table, options);
  if (rules.empty()) return;
  const auto base = base_chains(table);
  out += fmt::format("table inet {} {{\n", base.table);
  const auto used = [&rules](Hook hook) {
    return std::any_of(rules.begin(), rules.end(), [hook](const Rule& rule) { return rule.hook == hook; });
  };
  for (const Hook hook : kHooks) {
    if (!used(hook)) continue;
    const auto name = hook_name(hook);
    out += fmt::format("\tchain {0} {{\n\t\ttype {1} hook {0} priority {2}; policy accept;\n", name,
                       hook == Hook::kPrerouting ? base.prerouting : base.output, base.priority);
    write_rules(out, rules, hook, true, options);
    if (has_chain(rules, hook)) out += fmt::format("\t\tjump istio-{}\n", name);
    out += "\t}\n";
  }
  for (const Hook hook : kHooks) {
    if (!has_chain(rules, hook)) continue;
    out += fmt::format("\tchain istio-{} {{\n", hook_name(hook));
    write_rules(out, rules, hook, false, options);
    out += "\t}\n";
  }
  out += "}\n";
}

}  // namespace

std::string nft_install_text(const Options& options) {
  std::string out;
  for (const auto table : kTables) replace_table(out, table, options);
  return out;
}

std::string nft_tracking_text(const Options& options) {
  std::string out;
  replace_table(out, Table::kMangle, options);
  return out;
}

std::string nft_remove_text() {
  std::string out;
  for (const auto table : kTables) clear_table(out, table);
  return out;
}

std::string nft_our_tables(std::string_view listing) {
  std::map<std::string, std::string, std::less<>> found;
  std::string* current = nullptr;
  while (!listing.empty()) {
    const auto line = next_line(listing);
    if (line.starts_with("table ")) {
      current = nullptr;
      for (const auto table : kTables) {
        const auto name = base_chains(table).table;
        if (line == fmt::format("table inet {} {{", name)) current = &found[std::string(name)];
      }
    }
    if (current) current->append(line).append("\n");
    if (line == "}") current = nullptr;
  }
  std::string out;
  for (const auto& [name, text] : found) out += text;
  return out;
}

}  // namespace weft::cni::redirect
