// Security rules are read strictly: what a rule says beyond what is understood marks it incomplete, and the translator
// then takes the closed side.
#include <algorithm>

#include "lib/manifest/detail/decode.h"

namespace weft::manifest::detail {

namespace {

MtlsMode decode_mode(const Reader& mtls) {
  if (mtls && !mtls.value()->is_map()) {
    mtls.problem(Level::kError, "InvalidValue", "expected a map with mode; taken as STRICT");
    return MtlsMode::kStrict;
  }
  auto mode = mtls.any("mode");
  auto text = mode.as_text();
  if (!text) return mode ? MtlsMode::kStrict : MtlsMode::kUnset;
  if (*text == "UNSET" || text->empty()) return MtlsMode::kUnset;
  if (*text == "DISABLE") return MtlsMode::kDisable;
  if (*text == "PERMISSIVE") return MtlsMode::kPermissive;
  if (*text == "STRICT") return MtlsMode::kStrict;
  mode.problem(Level::kError, "InvalidValue",
               "\"" + text->substr(0, 100) + "\" is none of UNSET, DISABLE, PERMISSIVE, STRICT; taken as STRICT");
  return MtlsMode::kStrict;
}

using Policy = AuthorizationPolicy;

// The entries of a list of maps. What is none, null among them, is an error: as an empty map it could stand for everything.
std::vector<Reader> maps(const Reader& reader, std::string_view name) {
  auto out = reader.list(name);
  for (const auto& entry : out) {
    if (!entry.value()->is_map()) entry.problem(Level::kError, "InvalidValue", "expected a map");
  }
  return out;
}

// A list of which a value could not be read limits nothing: the values left would stand for fewer cases than were meant, and
// the rule is incomplete anyway.
Policy::Terms terms(const Reader& reader, std::string_view name, std::string_view not_name) {
  Policy::Terms out{reader.texts(name), reader.texts(not_name)};
  if (auto list = reader.any(name); list && out.values.size() != list.value()->items.size()) out.values.clear();
  return out;
}

Policy::Source decode_source(const Reader& source) {
  Policy::Source out;
  out.principals = terms(source, "principals", "notPrincipals");
  out.request_principals = terms(source, "requestPrincipals", "notRequestPrincipals");
  out.namespaces = terms(source, "namespaces", "notNamespaces");
  out.ip_blocks = terms(source, "ipBlocks", "notIpBlocks");
  out.remote_ip_blocks = terms(source, "remoteIpBlocks", "notRemoteIpBlocks");
  out.service_accounts = terms(source, "serviceAccounts", "notServiceAccounts");
  out.trust_domains = terms(source, "trustDomains", "notTrustDomains");
  return out;
}

Policy::Operation decode_operation(const Reader& operation) {
  Policy::Operation out;
  out.hosts = terms(operation, "hosts", "notHosts");
  out.ports = terms(operation, "ports", "notPorts");
  out.methods = terms(operation, "methods", "notMethods");
  out.paths = terms(operation, "paths", "notPaths");
  return out;
}

Policy::Rule decode_rule(const Reader& rule) {
  Policy::Rule out;
  out.line = rule.line();
  if (!rule.value()->is_map()) rule.problem(Level::kError, "InvalidValue", "expected a map with from, to and when");
  for (const auto& entry : maps(rule, "from")) out.from.push_back(decode_source(entry.map("source")));
  for (const auto& entry : maps(rule, "to")) out.to.push_back(decode_operation(entry.map("operation")));
  for (const auto& entry : maps(rule, "when")) out.when.push_back({entry.text("key"), terms(entry, "values", "notValues")});
  out.incomplete = rule.failed();
  return out;
}

TargetRef decode_target(const Reader& target) {
  return {target.text("group"), target.text("kind"), target.text("name"), target.text("namespace"),
          target.text("sectionName")};
}

// A field that the kind does not know, outside `within`: a word misspelt, or written beside the specification, may have been
// the one that limits. Metadata limits nothing.
bool says_more(const std::vector<Problem>& unknown_fields, std::string_view within) {
  if (unknown_fields.size() >= Problems::kKept) return true;  // the list may have been cut
  return std::any_of(unknown_fields.begin(), unknown_fields.end(), [&](const Problem& problem) {
    return !problem.path.starts_with("metadata") && (within.empty() || !problem.path.starts_with(within));
  });
}

}  // namespace

PeerAuthentication decode_peer_authentication(const Reader& object, const std::vector<Problem>& unknown_fields) {
  PeerAuthentication out;
  auto spec = object.map("spec");
  out.selector = spec.map("selector").text_map("matchLabels");
  out.has_selector = !out.selector.empty();
  const auto ports = spec.any("portLevelMtls");
  const bool unreadable = spec.failed() || says_more(unknown_fields, "") || (ports && !ports.value()->is_map());
  out.mode = decode_mode(spec.any("mtls"));
  out.ports_empty = ports && ports.value()->is_map() && ports.value()->members.empty();
  for (const auto& [key, entry] : spec.entries("portLevelMtls")) {
    // The key is a number; written as text it means the same.
    Value number;
    number.kind = Value::Kind::kScalar;
    number.text = key;
    Problems ignored;
    const auto port = Reader(&number, "", &ignored).as_integer(1, 65535);
    if (!port) {
      // Which port was meant is unknown, so a STRICT one is all of them.
      const bool strict = decode_mode(entry) == MtlsMode::kStrict;
      if (strict) out.mode = MtlsMode::kStrict;
      entry.problem(
          Level::kError, "InvalidValue",
          std::string("a port is a number from 1 to 65535; ") + (strict ? "every port is taken as STRICT" : "ignored"));
      continue;
    }
    out.ports[static_cast<std::uint16_t>(*port)] = decode_mode(entry);
  }
  if (unreadable) {
    out.mode = MtlsMode::kStrict;
    spec.problem(Level::kError, "InvalidValue", "says more than can be read; taken as STRICT");
  }
  return out;
}

AuthorizationPolicy decode_authorization_policy(const Reader& object, const std::vector<Problem>& unknown_fields) {
  AuthorizationPolicy out;
  auto spec = object.map("spec");
  out.selector = spec.map("selector").text_map("matchLabels");
  out.has_selector = !out.selector.empty();
  if (auto target = spec.map("targetRef")) out.targets.push_back(decode_target(target));
  for (const auto& target : maps(spec, "targetRefs")) {
    if (target.value()->is_map()) out.targets.push_back(decode_target(target));
  }
  const auto action = spec.text("action", "ALLOW");
  if (action == "DENY") {
    out.action = Policy::Action::kDeny;
  } else if (action == "AUDIT") {
    out.action = Policy::Action::kAudit;
  } else if (action == "CUSTOM") {
    out.action = Policy::Action::kCustom;
  } else if (action != "ALLOW" && !action.empty()) {
    spec.any("action").problem(Level::kError, "InvalidValue",
                               "\"" + action.substr(0, 100) + "\" is none of ALLOW, DENY, AUDIT, CUSTOM");
  }
  out.provider = spec.map("provider").text("name");
  out.unreadable = spec.failed() || says_more(unknown_fields, "spec.rules[");
  auto rules = spec.list("rules");
  if (spec.any("rules") && !spec.any("rules").value()->is_list()) out.unreadable = true;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    out.rules.push_back(decode_rule(rules[i].anew()));
    const auto prefix = rules[i].path() + ".";
    if (unknown_fields.size() >= Problems::kKept) out.rules.back().incomplete = true;  // the list may have been cut
    for (const auto& problem : unknown_fields) {
      if (problem.path.starts_with(prefix)) out.rules.back().incomplete = true;
    }
  }
  return out;
}

}  // namespace weft::manifest::detail
