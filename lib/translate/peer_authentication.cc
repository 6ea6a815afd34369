// PeerAuthentication as policies: a STRICT workload lists one shared DENY policy for peers without identity; exceptions by
// port need a policy of their own.
//
// Inheritance: workload over namespace over mesh, UNSET inherits, the oldest wins among equals. DISABLE counts as
// PERMISSIVE: nothing turns tunnels off. Source: istiod's ambient conversion, with one difference: there, a STRICT port of a
// workload that is PERMISSIVE itself goes unenforced when only the mesh-wide policy is STRICT; here it is enforced.
// Kept as there: below an inherited STRICT, ports that say only DISABLE (none PERMISSIVE) stay STRICT, and it is said.
#include <algorithm>

#include "lib/translate/detail/policies.h"
#include "lib/translate/translate.h"

namespace weft::translate::detail {
namespace {

using manifest::MtlsMode;
using manifest::PeerAuthentication;

constexpr const char* kStaticStrict = "istio_converted_static_strict";
constexpr const char* kConvertedPrefix = "converted_peer_authentication_";

bool is_open(MtlsMode mode) { return mode == MtlsMode::kPermissive || mode == MtlsMode::kDisable; }

bool older(const Item<PeerAuthentication>& a, const Item<PeerAuthentication>& b) {
  const auto& x = a.meta();
  const auto& y = b.meta();
  // An object without a time, as files have it, is newer than any with one.
  if (x.creation_timestamp.empty() != y.creation_timestamp.empty()) return y.creation_timestamp.empty();
  return std::tie(x.creation_timestamp, x.name) < std::tie(y.creation_timestamp, y.name);
}

void keep_older(const Item<PeerAuthentication>*& kept, const Item<PeerAuthentication>& item) {
  const auto* newer = &item;
  if (!kept || older(item, *kept)) std::swap(kept, newer);
  if (newer)
    newer->status->find(Level::kWarning, "FieldIgnored",
                        "PeerAuthentication " + kept->meta().name + " covers the same and is older; this one has no effect");
}

// Peers without identity.
model::Match no_principal() {
  model::Match match;
  match.not_principals = {{model::StringMatch::Kind::kPresence, ""}};
  return match;
}

bool any_port(const PeerAuthentication& policy, bool (*test)(MtlsMode)) {
  return std::any_of(policy.ports.begin(), policy.ports.end(), [&](const auto& port) { return test(port.second); });
}
bool any_strict(const PeerAuthentication& policy) {
  return any_port(policy, [](MtlsMode mode) { return mode == MtlsMode::kStrict; });
}
bool any_permissive(const PeerAuthentication& policy) {
  return any_port(policy, [](MtlsMode mode) { return mode == MtlsMode::kPermissive; });
}

}  // namespace

PeerAuthentications::PeerAuthentications(World& world, Policies& out) : world_(world) {
  const auto& root = world.options.root_namespace;
  for (const auto& item : world.peer_authentications) {
    const auto& policy = *item.body;
    const auto& ns = item.meta().namespace_;
    item.status->conditions.push_back({kZtunnelAccepted, "True", "Accepted", "enforced by the node proxies", Level::kInfo});
    if (policy.has_selector && ns == root) {
      item.status->find(Level::kWarning, "FieldIgnored",
                        "spec.selector: has no effect in the root namespace; the policy selects nothing");
    } else if (policy.has_selector) {
      workloads_[ns].push_back(&item);
    } else {
      keep_older(ns == root ? mesh_ : namespaces_[ns], item);
      if (!policy.ports.empty())
        item.status->find(Level::kWarning, "FieldIgnored", "spec.portLevelMtls: needs a selector; ignored");
    }
    if (policy.ports_empty) item.status->find(Level::kWarning, "FieldIgnored", "spec.portLevelMtls: names no port; ignored");
    if (policy.mode == MtlsMode::kDisable)
      item.status->find(Level::kInfo, "Interpreted",
                        "spec.mtls.mode: DISABLE is taken as PERMISSIVE; mesh peers still use mutual TLS");
    for (const auto& [port, mode] : policy.ports) {
      if (mode == MtlsMode::kDisable)
        item.status->find(Level::kInfo, "Interpreted",
                          "spec.portLevelMtls." + std::to_string(port) +
                              ".mode: DISABLE is taken as PERMISSIVE; mesh peers still use mutual TLS to this port");
    }
  }
  if (world.peer_authentications.empty()) return;
  for (auto& [ns, items] : workloads_) {
    std::sort(items.begin(), items.end(), [](const auto* a, const auto* b) { return older(*a, *b); });
    for (const auto* item : items) convert(*item, out);
  }
  model::Policy strict;
  strict.name = kStaticStrict;
  strict.namespace_name = root;
  strict.scope = model::PolicyScope::kWorkloadSelector;
  strict.action = model::PolicyAction::kDeny;
  strict.rules = {{{no_principal()}}};
  out.policies.push_back(std::move(strict));
}

bool PeerAuthentications::inherits_strict(const std::string& ns) const {
  if (auto found = namespaces_.find(ns); found != namespaces_.end() && found->second->body->mode != MtlsMode::kUnset)
    return found->second->body->mode == MtlsMode::kStrict;
  return mesh_ && mesh_->body->mode == MtlsMode::kStrict;
}

void PeerAuthentications::convert(const Item<PeerAuthentication>& item, Policies& out) {
  const auto& source = *item.body;
  const auto& ns = item.meta().namespace_;
  const bool inherited = source.mode == MtlsMode::kUnset;
  const bool strict = inherited ? inherits_strict(ns) : source.mode == MtlsMode::kStrict;
  if (strict && inherited && any_port(source, is_open) && !any_permissive(source))
    item.status->find(
        Level::kWarning, "FieldIgnored",
        "spec.portLevelMtls: DISABLE has no effect below an inherited STRICT; write PERMISSIVE or set spec.mtls.mode");
  const bool needed = strict ? (inherited ? any_permissive(source) : any_port(source, is_open)) : any_strict(source);
  if (!needed) return;

  model::Policy policy;
  policy.name = kConvertedPrefix + item.meta().name;
  policy.namespace_name = ns;
  policy.scope = model::PolicyScope::kWorkloadSelector;
  policy.action = model::PolicyAction::kDeny;
  if (strict) {
    model::Rule rule{{no_principal()}};
    for (const auto& [port, mode] : source.ports) {
      if (!is_open(mode)) continue;
      model::Match other_port;
      other_port.not_destination_ports = {port};
      rule.push_back({std::move(other_port)});
    }
    policy.rules.push_back(std::move(rule));
  } else {
    for (const auto& [port, mode] : source.ports) {
      if (mode != MtlsMode::kStrict) continue;
      auto match = no_principal();
      match.destination_ports = {port};
      policy.rules.push_back({{std::move(match)}});
    }
  }
  converted_[item.object] = policy.key();
  out.policies.push_back(std::move(policy));
}

std::vector<std::string> PeerAuthentications::keys_for(const std::string& ns, const manifest::Labels& labels) const {
  const auto static_key = world_.options.root_namespace + "/" + kStaticStrict;
  if (auto found = workloads_.find(ns); found != workloads_.end()) {
    for (const auto* item : found->second) {
      if (!selects(item->body->selector, labels)) continue;
      if (auto converted = converted_.find(item->object); converted != converted_.end()) return {converted->second};
      const bool strict = item->body->mode == MtlsMode::kUnset ? inherits_strict(ns) : item->body->mode == MtlsMode::kStrict;
      return strict ? std::vector{static_key} : std::vector<std::string>{};
    }
  }
  if (inherits_strict(ns)) return {static_key};
  return {};
}

const manifest::Object* PeerAuthentications::origin(const std::string& ns, const manifest::Labels& labels) const {
  if (auto found = workloads_.find(ns); found != workloads_.end()) {
    for (const auto* item : found->second) {
      if (!selects(item->body->selector, labels)) continue;
      if (item->body->mode != MtlsMode::kUnset || converted_.contains(item->object)) return item->object;
      break;
    }
  }
  if (auto found = namespaces_.find(ns); found != namespaces_.end() && found->second->body->mode != MtlsMode::kUnset)
    return found->second->object;
  return mesh_ ? mesh_->object : nullptr;
}

}  // namespace weft::translate::detail

namespace weft::translate {

bool is_converted(const model::Policy& policy) {
  return policy.name == detail::kStaticStrict || policy.name.starts_with(detail::kConvertedPrefix);
}

}  // namespace weft::translate
