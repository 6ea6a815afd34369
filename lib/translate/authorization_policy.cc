// AuthorizationPolicy as a node enforces it, which sees connections and no HTTP.
//
// Shape: every rule becomes a rule of clauses that must all hold: one for `to`, one for `from`, one per `when`. A node takes
// a match without conditions for one that never matches; Istio relies on it and so do we:
//  - ALLOW: a rule with HTTP attributes is left out. A policy left without rules denies everything: closed.
//  - DENY: HTTP attributes are blanked. What remains may deny more than asked or, when a whole clause is blank, the rule
//    never fires: open, therefore reported at level error (or closed by Options::http_in_deny).
// Beyond Istio, whose API server refuses such objects: what cannot be read takes the closed side. An ALLOW rule is then
// left out, a DENY rule fires without the unreadable part.
// Source: istiod's ambient policy conversion; ztunnel's matching rules.
#include <algorithm>
#include <charconv>
#include <optional>

#include "lib/translate/detail/policies.h"
#include "lib/translate/detail/principals.h"

namespace weft::translate::detail {
namespace {

using manifest::AuthorizationPolicy;
using Action = AuthorizationPolicy::Action;
using Terms = AuthorizationPolicy::Terms;

model::StringMatch to_string_match(const std::string& text) {
  using Kind = model::StringMatch::Kind;
  if (text == "*") return {Kind::kPresence, ""};
  if (text.starts_with('*')) return {Kind::kSuffix, text.substr(1)};
  if (text.ends_with('*')) return {Kind::kPrefix, text.substr(0, text.size() - 1)};
  return {Kind::kExact, text};
}

std::optional<std::uint16_t> to_port(const std::string& text) {
  unsigned port = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0 || port > 65535) return std::nullopt;
  return static_cast<std::uint16_t>(port);
}

std::optional<Cidr> to_block(const std::string& text) {
  auto block = Cidr::parse(text);
  return block ? std::optional(*block) : std::nullopt;
}

// Holds for every connection; said by addresses, because a match without conditions never matches.
model::Match always() {
  model::Match match;
  match.source_ips = {*Cidr::parse("0.0.0.0/0"), *Cidr::parse("::/0")};
  return match;
}

bool is_l4_key(const std::string& key) {
  return key == "source.ip" || key == "source.namespace" || key == "source.principal" || key == "destination.ip" ||
         key == "destination.port";
}

bool is_http_key(const std::string& key) {
  return key.starts_with("request.headers[") || key.starts_with("request.auth.") || key == "remote.ip" ||
         key == "connection.sni" || key == "source.trustDomain" || key == "source.serviceAccount" ||
         key.starts_with("experimental.envoy.filters.");
}

std::string join(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

void add_once(std::vector<std::string>& list, const std::string& word) {
  if (std::find(list.begin(), list.end(), word) == list.end()) list.push_back(word);
}

// What one rule became.
struct Converted {
  std::optional<model::Rule> rule;   // nothing: left out
  std::vector<std::string> http;     // HTTP attributes found, each once
  std::vector<std::string> unknown;  // condition keys that are none, each once
  bool without_effect = false;       // a DENY rule that can never fire
};

class RuleConverter {
 public:
  RuleConverter(const Item<AuthorizationPolicy>& item, const Options& options, std::size_t index)
      : item_(item),
        options_(options),
        rule_(item.body->rules[index]),
        where_("spec.rules[" + std::to_string(index) + "]"),
        deny_(item.body->action == Action::kDeny) {}

  Converted convert() {
    model::Rule rule;
    if (!rule_.to.empty()) rule.push_back(clause(rule_.to));
    if (!rule_.from.empty()) rule.push_back(clause(rule_.from));
    for (const auto& condition : rule_.when) rule.push_back(clause(std::vector{condition}));
    if (deny_ || (out_.http.empty() && out_.unknown.empty() && !rule_.incomplete)) out_.rule = std::move(rule);
    if (!deny_ && rule_.incomplete)
      item_.status->find(Level::kError, "FieldIgnored", where_ + " says more than can be read; the rule allows nothing",
                         rule_.line);
    return std::move(out_);
  }

 private:
  template <typename Part>
  model::Clause clause(const std::vector<Part>& parts) {
    model::Clause clause;
    bool can_match = false;
    for (const auto& part : parts) {
      match_ = {};
      blanked_ = unreadable_ = impossible_ = false;
      read(part);
      auto match = finish();
      can_match |= !match.empty();
      clause.push_back(std::move(match));
    }
    if (deny_ && !can_match) out_.without_effect = true;
    return clause;
  }

  model::Match finish() {
    if (impossible_) return {};
    const bool closed = unreadable_ || rule_.incomplete || (blanked_ && options_.http_in_deny == Options::HttpInDeny::kDeny);
    if (deny_ && match_.empty() && closed) return always();
    return std::move(match_);
  }

  void read(const AuthorizationPolicy::Operation& operation) {
    http(operation.hosts, "hosts", "notHosts");
    http(operation.methods, "methods", "notMethods");
    http(operation.paths, "paths", "notPaths");
    take(operation.ports, match_.destination_ports, match_.not_destination_ports, "port", to_port);
  }

  void read(const AuthorizationPolicy::Source& source) {
    http(source.request_principals, "requestPrincipals", "notRequestPrincipals");
    http(source.remote_ip_blocks, "remoteIpBlocks", "notRemoteIpBlocks");
    // Not of HTTP, but no field of the node proxies' policies either: told as such, as istiod does.
    http(source.trust_domains, "trustDomains", "notTrustDomains");
    strings(source.namespaces, match_.namespaces, match_.not_namespaces);
    principals(source.principals);
    take(source.ip_blocks, match_.source_ips, match_.not_source_ips, "address block", to_block);
    take(source.service_accounts, match_.service_accounts, match_.not_service_accounts, "service account",
         [this](const std::string& text) -> std::optional<model::ServiceAccountMatch> {
           const auto slash = text.find('/');
           if (slash == text.npos) return model::ServiceAccountMatch{item_.meta().namespace_, text};
           if (text.find('/', slash + 1) != text.npos) return std::nullopt;
           return model::ServiceAccountMatch{text.substr(0, slash), text.substr(slash + 1)};
         });
  }

  void read(const AuthorizationPolicy::Condition& condition) {
    const auto& key = condition.key;
    if (!is_l4_key(key)) {
      blanked_ = true;
      if (is_http_key(key)) return add_once(out_.http, key);
      add_once(out_.unknown, key.substr(0, 100));
      item_.status->find(deny_ ? Level::kError : Level::kWarning, "UnknownConditionKey",
                         where_ + ".when: \"" + key.substr(0, 100) + "\" is no condition key; the rule never matches",
                         rule_.line);
      return;
    }
    if (key == "source.namespace") strings(condition.terms, match_.namespaces, match_.not_namespaces);
    if (key == "source.principal") principals(condition.terms);
    if (key == "source.ip") take(condition.terms, match_.source_ips, match_.not_source_ips, "address block", to_block);
    if (key == "destination.ip")
      take(condition.terms, match_.destination_ips, match_.not_destination_ips, "address block", to_block);
    if (key == "destination.port")
      take(condition.terms, match_.destination_ports, match_.not_destination_ports, "port", to_port);
  }

  void strings(const Terms& terms, std::vector<model::StringMatch>& values, std::vector<model::StringMatch>& not_values) {
    for (const auto& text : terms.values) values.push_back(to_string_match(text));
    for (const auto& text : terms.not_values) not_values.push_back(to_string_match(text));
  }

  void principals(const Terms& terms) {
    Terms meant;
    for (const auto& text : terms.values)
      std::ranges::move(principals_meant(options_, text), std::back_inserter(meant.values));
    for (const auto& text : terms.not_values)
      std::ranges::move(principals_meant(options_, text), std::back_inserter(meant.not_values));
    strings(meant, match_.principals, match_.not_principals);
  }

  // A value that cannot be read is left out, to the closed side. ALLOW: a list that lost all its values, or an exception
  // that was lost, turns the alternative off. DENY: a list that lost a value limits nothing any more.
  template <typename T, typename Convert>
  void take(const Terms& terms, std::vector<T>& values, std::vector<T>& not_values, const char* what, Convert convert) {
    bool lost = false;
    auto read_all = [&](const std::vector<std::string>& texts, std::vector<T>& out) {
      for (const auto& text : texts) {
        if (std::optional<T> value = convert(text)) {
          out.push_back(std::move(*value));
          continue;
        }
        lost = true;
        item_.status->find(
            Level::kError, "InvalidValue",
            where_ + ": \"" + text.substr(0, 100) + "\" is no " + what + "; " +
                (deny_ ? "left out, the rule denies more than written" : "left out, the rule allows less than written"),
            rule_.line);
      }
    };
    read_all(terms.values, values);
    if (deny_ && lost) values.clear();
    const bool all_lost = values.empty() && !terms.values.empty();
    lost = false;
    read_all(terms.not_values, not_values);
    if (all_lost || lost) (deny_ ? unreadable_ : impossible_) = true;
  }

  void http(const Terms& terms, const char* name, const char* not_name) {
    if (!terms.values.empty()) add_once(out_.http, name);
    if (!terms.not_values.empty()) add_once(out_.http, not_name);
    if (!terms.empty()) blanked_ = true;
  }

  const Item<AuthorizationPolicy>& item_;
  const Options& options_;
  const AuthorizationPolicy::Rule& rule_;
  const std::string where_;
  const bool deny_;
  Converted out_;
  // Of the match being read.
  model::Match match_;
  bool blanked_ = false;     // HTTP attributes were left out
  bool unreadable_ = false;  // DENY: values were left out that would have limited it
  bool impossible_ = false;  // ALLOW: values were left out that would have limited it
};

// As Go reads a boolean. What is none means false: the policy is enforced.
bool is_true(const std::string& text) {
  constexpr std::string_view kTrue[] = {"1", "t", "T", "TRUE", "true", "True"};
  return std::ranges::find(kTrue, text) != std::end(kTrue);
}

void accept(ObjectStatus& status) {
  status.conditions.push_back({kZtunnelAccepted, "True", "Accepted", "enforced by the node proxies", Level::kInfo});
}

void not_sent(ObjectStatus& status, Level level, const std::string& message) {
  status.conditions.push_back({kZtunnelAccepted, "False", "UnsupportedValue", message, level});
  status.find(level, "UnsupportedAtL4", message);
}

// What the policy's rules became together.
struct Summary {
  std::vector<std::string> http, unknown;
  std::size_t dropped = 0;  // rules left out
  std::size_t dead = 0;     // DENY rules that can never fire
  std::size_t kept = 0;
};

void report(const Item<AuthorizationPolicy>& item, const Summary& summary, const Options& options) {
  if (summary.http.empty() && summary.unknown.empty()) {
    if (summary.dead > 0)
      item.status->find(Level::kError, "FieldIgnored",
                        "spec.rules: " + std::to_string(summary.dead) + " of " + std::to_string(item.body->rules.size()) +
                            " can never fire, because an empty source or operation matches nothing");
    return accept(*item.status);
  }
  auto found = summary.http;
  found.insert(found.end(), summary.unknown.begin(), summary.unknown.end());
  std::string message = "ztunnel does not evaluate HTTP attributes (found: " + join(found) + "); ";
  auto level = Level::kWarning;
  if (item.body->action == Action::kAllow) {
    message += summary.kept == 0 ? "no rule is left, so every connection to the workloads it covers is denied"
                                 : std::to_string(summary.dropped) + " of " + std::to_string(item.body->rules.size()) +
                                       " rules are left out, the others are enforced";
  } else if (options.http_in_deny == Options::HttpInDeny::kDeny) {
    message += "connections are denied without regard to them, as configured";
  } else if (summary.dead > 0) {
    level = Level::kError;
    message += std::to_string(summary.dead) + " of " + std::to_string(item.body->rules.size()) +
               " rules can never fire and have no effect";
  } else {
    message += "the rules are enforced without them and deny more than asked";
  }
  message += "; to enforce them, use a waypoint and targetRefs";
  item.status->conditions.push_back({kZtunnelAccepted, "True", "UnsupportedValue", message, level});
  // Unknown keys have a finding of their own.
  if (!summary.http.empty()) item.status->find(level, "UnsupportedAtL4", message);
}

void translate_one(const Item<AuthorizationPolicy>& item, const Options& options, Policies& out) {
  const auto& source = *item.body;
  const auto& meta = item.meta();
  if (!source.targets.empty()) {
    item.status->find(Level::kWarning, "NoWaypoint",
                      "spec.targetRefs: enforced by waypoints only; no waypoint proxy of this mesh enforces it yet");
    return;
  }
  model::Policy policy;
  policy.name = meta.name;
  policy.namespace_name = meta.namespace_;
  policy.action = source.action == Action::kDeny ? model::PolicyAction::kDeny : model::PolicyAction::kAllow;
  policy.scope = source.has_selector                         ? model::PolicyScope::kWorkloadSelector
                 : meta.namespace_ == options.root_namespace ? model::PolicyScope::kGlobal
                                                             : model::PolicyScope::kNamespace;
  auto& written = out.written_rules[policy.key()];
  auto emit = [&] {
    if (source.has_selector) {
      const bool everywhere = meta.namespace_ == options.root_namespace;
      out.attachments.push_back({everywhere ? "" : meta.namespace_, source.selector, policy.key()});
    }
    out.policies.push_back(std::move(policy));
  };
  if (source.unreadable) {
    policy.action = model::PolicyAction::kDeny;
    policy.rules = {model::Rule{}};
    const std::string message = "the policy cannot be read; every connection it may cover is denied until it can";
    item.status->conditions.push_back({kZtunnelAccepted, "True", "Unreadable", message, Level::kError});
    item.status->find(Level::kError, "InvalidValue", message);
    return emit();
  }
  if (source.action == Action::kAudit)
    return not_sent(*item.status, Level::kWarning, "ztunnel does not support the AUDIT action; the policy has no effect");
  if (source.action == Action::kCustom)
    return not_sent(*item.status, Level::kError,
                    "ztunnel does not support the CUSTOM action; the policy has no effect and denies nothing");
  if (const auto* dry_run = meta.annotation("istio.io/dry-run"); dry_run && is_true(*dry_run)) {
    if (!options.send_dry_run)
      return not_sent(*item.status, Level::kInfo, "marked istio.io/dry-run; not sent to the node proxies and has no effect");
    policy.dry_run = true;
  }

  if (source.action == Action::kDeny && source.rules.empty())
    item.status->find(Level::kError, "FieldIgnored", "spec.rules: none; a DENY policy without rules denies nothing");
  Summary summary;
  for (std::size_t i = 0; i < source.rules.size(); ++i) {
    auto converted = RuleConverter(item, options, i).convert();
    for (const auto& name : converted.http) add_once(summary.http, name);
    for (const auto& name : converted.unknown) add_once(summary.unknown, name);
    summary.dead += converted.without_effect ? 1 : 0;
    summary.dropped += converted.rule ? 0 : 1;
    if (!converted.rule) continue;
    policy.rules.push_back(std::move(*converted.rule));
    written.push_back(i);
  }
  summary.kept = policy.rules.size();
  out.rules_without_effect += summary.dead;
  report(item, summary, options);
  emit();
}

}  // namespace

void translate_authorization_policies(World& world, Policies& out) {
  for (const auto& item : world.authorization_policies) translate_one(item, world.options, out);
}

std::vector<std::string> policy_keys(const Policies& policies, const PeerAuthentications& peers,
                                     const std::string& namespace_name, const manifest::Labels& labels) {
  auto keys = peers.keys_for(namespace_name, labels);
  for (const auto& attachment : policies.attachments) {
    if ((attachment.namespace_name.empty() || attachment.namespace_name == namespace_name) &&
        selects(attachment.selector, labels))
      keys.push_back(attachment.key);
  }
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return keys;
}

}  // namespace weft::translate::detail
