#include "cni-plugin/redirect/rules.h"

#include <algorithm>
#include <vector>

namespace weft::cni::redirect {
namespace {

using enum Hook;
using Protocol = Rule::Protocol;
using Interface = Rule::Interface;
using Address = Rule::Address;
using Mark = Rule::Mark;
using Action = Rule::Action;

constexpr std::uint16_t kOutboundPort = 15001, kPlainInboundPort = 15006, kTunnelPort = 15008, kDnsCapturePort = 15053;
constexpr std::uint16_t kDnsPort = 53;

std::vector<Rule> mangle_rules() {
  return {
      {.hook = kPrerouting, .protocol = Protocol::kTcp, .begins = true, .action = Action::kMarkDecided},
      {.hook = kOutput, .protocol = Protocol::kTcp, .begins = true, .action = Action::kMarkDecided},
      {.hook = kPrerouting, .mark = Mark::kProxy, .action = Action::kMarkReply},
      {.hook = kOutput, .is_reply = true, .action = Action::kRestoreMark},
  };
}

std::vector<Rule> nat_rules(const Options& options) {
  std::vector<Rule> rules{
      {.hook = kPrerouting, .protocol = Protocol::kTcp, .from = Address::kProbe, .action = Action::kAccept},
      {.hook = kOutput, .protocol = Protocol::kTcp, .to = Address::kProbe, .action = Action::kAccept},
      {.hook = kPrerouting,
       .protocol = Protocol::kTcp,
       .to = Address::kNotLoopback,
       .not_to_port = kTunnelPort,
       .mark = Mark::kNotProxy,
       .action = Action::kRedirect,
       .port = kPlainInboundPort},
  };
  if (options.dns_capture) {
    rules.push_back({.hook = kOutput,
                     .out = Interface::kNotLoopback,
                     .protocol = Protocol::kUdp,
                     .to_port = kDnsPort,
                     .mark = Mark::kNotProxy,
                     .action = Action::kRedirect,
                     .port = kDnsCapturePort});
    rules.push_back({.hook = kOutput,
                     .protocol = Protocol::kTcp,
                     .to = Address::kNotLoopback,
                     .to_port = kDnsPort,
                     .mark = Mark::kNotProxy,
                     .action = Action::kRedirect,
                     .port = kDnsCapturePort});
  }
  rules.push_back({.hook = kOutput, .protocol = Protocol::kTcp, .mark = Mark::kReply, .action = Action::kAccept});
  rules.push_back({.hook = kOutput, .out = Interface::kLoopback, .to = Address::kNotLoopback, .action = Action::kAccept});
  rules.push_back({.hook = kOutput,
                   .protocol = Protocol::kTcp,
                   .to = Address::kNotLoopback,
                   .mark = Mark::kNotProxy,
                   .action = Action::kRedirect,
                   .port = kOutboundPort});
  return rules;
}

std::vector<Rule> raw_rules(const Options& options) {
  std::vector<Rule> rules;
  if (options.delivery_zone) {
    rules.push_back({.hook = kOutput,
                     .out = Interface::kLoopback,
                     .protocol = Protocol::kTcp,
                     .mark = Mark::kProxy,
                     .action = Action::kDeliveryZone});
  }
  if (options.dns_capture) {
    rules.push_back({.hook = kPrerouting,
                     .protocol = Protocol::kUdp,
                     .from_port = kDnsPort,
                     .mark = Mark::kNotProxy,
                     .action = Action::kProxyDnsZone});
    rules.push_back({.hook = kOutput,
                     .protocol = Protocol::kUdp,
                     .to_port = kDnsPort,
                     .mark = Mark::kProxy,
                     .action = Action::kProxyDnsZone});
  }
  return rules;
}

}  // namespace

std::vector<Rule> rules_of(Table table, const Options& options) {
  switch (table) {
    case Table::kMangle: return mangle_rules();
    case Table::kNat: {
      auto rules = nat_rules(options);
      if (!options.redirecting) std::erase_if(rules, [](const Rule& rule) { return rule.action == Action::kRedirect; });
      return rules;
    }
    case Table::kRaw: return raw_rules(options);
  }
  return {};
}

bool has_chain(const std::vector<Rule>& rules, Hook hook) {
  return std::any_of(rules.begin(), rules.end(),
                     [hook](const Rule& rule) { return rule.hook == hook && !rule.is_addition(); });
}

}  // namespace weft::cni::redirect
