#include "cni-plugin/redirect/iptables_text.h"

#include <algorithm>

#include "cni-plugin/redirect/lines.h"
#include "lib/base/log.h"

namespace weft::cni::redirect {
namespace {

constexpr std::string_view kOurPrefix = "ISTIO_";

std::string_view table_name(Table table) {
  switch (table) {
    case Table::kMangle: return "mangle";
    case Table::kNat: return "nat";
    case Table::kRaw: return "raw";
  }
  return "";
}

std::string_view builtin_chain(Hook hook) { return hook == Hook::kPrerouting ? "PREROUTING" : "OUTPUT"; }
std::string_view our_chain(Hook hook) { return hook == Hook::kPrerouting ? "ISTIO_PRERT" : "ISTIO_OUTPUT"; }

std::string decided_mark() { return fmt::format("{0:#x}/{0:#x}", kDecidedMark); }
std::string delivery_zone() { return fmt::format("{}", kDeliveryZone); }

std::string address(std::string_view option, Rule::Address which, AddressFamily family, const Options& options) {
  const bool v4 = family == AddressFamily::kIpv4;
  switch (which) {
    case Rule::Address::kAny: return "";
    case Rule::Address::kProbe:
      return fmt::format("{} {}/{} ", option, (v4 ? options.probes.v4 : options.probes.v6).to_string(), v4 ? 32 : 128);
    case Rule::Address::kNotLoopback: return fmt::format("! {} {} ", option, v4 ? "127.0.0.1/32" : "::1/128");
  }
  return "";
}

std::string protocol(const Rule& rule) {
  if (rule.protocol == Rule::Protocol::kAny) return "";
  std::string out = rule.protocol == Rule::Protocol::kTcp ? "-p tcp " : "-p udp ";
  if (rule.from_port != 0) out += fmt::format("--sport {} ", rule.from_port);
  if (rule.to_port != 0) out += fmt::format("--dport {} ", rule.to_port);
  if (rule.not_to_port != 0) out += fmt::format("! --dport {} ", rule.not_to_port);
  return out;
}

std::string mark(Rule::Mark mark) {
  switch (mark) {
    case Rule::Mark::kAny: return "";
    case Rule::Mark::kProxy: return fmt::format("-m mark --mark {:#x}/{:#x} ", kProxyMark, kMarkMask);
    case Rule::Mark::kNotProxy: return fmt::format("-m mark ! --mark {:#x}/{:#x} ", kProxyMark, kMarkMask);
    case Rule::Mark::kReply: return fmt::format("-m mark --mark {:#x}/{:#x} ", kReplyMark, kMarkMask);
  }
  return "";
}

std::string target(const Rule& rule) {
  switch (rule.action) {
    case Rule::Action::kAccept: return "ACCEPT";
    case Rule::Action::kRedirect: return fmt::format("REDIRECT --to-ports {}", rule.port);
    case Rule::Action::kMarkReply: return fmt::format("CONNMARK --set-xmark {:#x}/{:#x}", kReplyMark, kMarkMask);
    case Rule::Action::kRestoreMark: return "CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff";
    case Rule::Action::kMarkDecided: return "CONNMARK --set-xmark " + decided_mark();
    case Rule::Action::kProxyDnsZone: return fmt::format("CT --zone {}", kProxyDnsZone);
    case Rule::Action::kDeliveryZone: return "CT --zone-orig " + delivery_zone();
  }
  return "";
}

std::string rule_text(const Rule& rule, AddressFamily family, const Options& options) {
  std::string out;
  if (rule.out == Rule::Interface::kLoopback) out += "-o lo ";
  if (rule.out == Rule::Interface::kNotLoopback) out += "! -o lo ";
  out += address("-s", rule.from, family, options) + address("-d", rule.to, family, options) + protocol(rule);
  out += mark(rule.mark);
  if (rule.is_reply) out += fmt::format("-m connmark --mark {:#x}/{:#x} ", kReplyMark, kMarkMask);
  if (rule.begins) out += "-m conntrack --ctstate NEW ";
  return out + "-j " + target(rule) + "\n";
}

// Takes away what leads to our chains, and those chains that are not in `kept`, which are emptied elsewhere.
void clear(std::string& out, const SavedRules::Table& present, const std::vector<std::string_view>& kept) {
  for (const auto& rule : present.outside) out += "-D " + rule + "\n";
  std::vector<std::string_view> going;
  for (const auto& chain : present.chains) {
    if (std::find(kept.begin(), kept.end(), chain) == kept.end()) going.push_back(chain);
  }
  for (const auto chain : going) out += fmt::format("-F {}\n", chain);
  for (const auto chain : going) out += fmt::format("-X {}\n", chain);
}

void replace_table(std::string& out, Table table, AddressFamily family, const Options& options, const SavedRules& present) {
  const auto rules = rules_of(table, options);
  const auto found = present.tables.find(std::string(table_name(table)));
  const auto old = found == present.tables.end() ? SavedRules::Table() : found->second;
  if (rules.empty() && old.chains.empty() && old.outside.empty()) return;
  out += fmt::format("*{}\n", table_name(table));
  std::vector<std::string_view> wanted;
  for (const Hook hook : kHooks) {
    if (has_chain(rules, hook)) wanted.push_back(our_chain(hook));
  }
  // Makes the chain, or empties it.
  for (const auto chain : wanted) out += fmt::format(":{} - [0:0]\n", chain);
  clear(out, old, wanted);
  for (const Hook hook : kHooks) {
    int position = 1;
    for (const auto& rule : rules) {
      if (rule.hook != hook || !rule.is_addition()) continue;
      out += fmt::format("-I {} {} {}", builtin_chain(hook), position++, rule_text(rule, family, options));
    }
    if (has_chain(rules, hook)) out += fmt::format("-I {} {} -j {}\n", builtin_chain(hook), position, our_chain(hook));
  }
  for (const auto& rule : rules) {
    if (rule.is_addition()) continue;
    out += fmt::format("-A {} {}", our_chain(rule.hook), rule_text(rule, family, options));
  }
  out += "COMMIT\n";
}

// A jump to a chain of ours, our mark, or our zone. `rule` as after "-A CHAIN".
bool is_ours(std::string_view rule) {
  for (auto word = next_word(rule); !word.empty(); word = next_word(rule)) {
    if ((word == "-j" || word == "-g") && next_word(rule).starts_with(kOurPrefix)) return true;
    if (word == "--set-xmark" && next_word(rule) == decided_mark()) return true;
    if (word == "--zone-orig" && next_word(rule) == delivery_zone()) return true;
  }
  return false;
}

// One chain of one table, as it is read.
struct Chain {
  std::vector<std::string> rules;
  std::size_t up_to_ours = 0;  // rules up to the last that is ours
};

SavedRules::Table summary(const std::map<std::string, Chain>& chains) {
  SavedRules::Table out;
  for (const auto& [name, chain] : chains) {
    const bool ours = name.starts_with(kOurPrefix);
    if (ours) {
      out.chains.push_back(name);
      out.text += ":" + name + "\n";
    }
    for (std::size_t i = 0; i < (ours ? chain.rules.size() : chain.up_to_ours); ++i) {
      out.text += "-A " + name + chain.rules[i] + "\n";
      if (!ours && is_ours(chain.rules[i])) out.outside.push_back(name + chain.rules[i]);
    }
  }
  return out;
}

}  // namespace

std::string SavedRules::text() const {
  std::string out;
  for (const auto& [name, table] : tables) out += "*" + name + "\n" + table.text;
  return out;
}

SavedRules parse_saved_rules(std::string_view saved) {
  std::map<std::string, std::map<std::string, Chain>> tables;
  std::map<std::string, Chain>* table = nullptr;
  while (!saved.empty()) {
    auto line = next_line(saved);
    if (line.starts_with("*")) {
      table = &tables[std::string(line.substr(1))];
    } else if (table && line.starts_with(":")) {
      line.remove_prefix(1);
      (*table)[std::string(next_word(line))];
    } else if (table && line.starts_with("-A ")) {
      line.remove_prefix(3);
      auto& chain = (*table)[std::string(next_word(line))];
      chain.rules.emplace_back(line);  // with the space before it
      if (is_ours(line)) chain.up_to_ours = chain.rules.size();
    }
  }
  SavedRules out;
  for (const auto& [name, chains] : tables) {
    auto ours = summary(chains);
    if (!ours.text.empty()) out.tables.emplace(name, std::move(ours));
  }
  return out;
}

std::string iptables_install_text(const Options& options, AddressFamily family, const SavedRules& present) {
  std::string out;
  SavedRules elsewhere = present;  // in tables that we do not use
  for (const auto table : kTables) {
    replace_table(out, table, family, options, present);
    elsewhere.tables.erase(std::string(table_name(table)));
  }
  return out + iptables_remove_text(elsewhere);
}

std::string iptables_tracking_text(const Options& options, AddressFamily family) {
  std::string out;
  replace_table(out, Table::kMangle, family, options, {});
  return out;
}

std::string iptables_remove_text(const SavedRules& present) {
  std::string out;
  for (const auto& [name, table] : present.tables) {
    out += fmt::format("*{}\n", name);
    clear(out, table, {});
    out += "COMMIT\n";
  }
  return out;
}

}  // namespace weft::cni::redirect
