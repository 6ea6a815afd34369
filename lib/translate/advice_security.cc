#include <algorithm>
#include <set>

#include "lib/translate/detail/advice.h"
#include "lib/translate/detail/principals.h"

namespace weft::translate::detail {
namespace {

using manifest::AuthorizationPolicy;
using PolicyItem = Item<AuthorizationPolicy>;

// What runs, as far as the objects tell.
struct Running {
  std::map<std::string, std::vector<const manifest::Labels*>> labels;  // by namespace
  std::set<std::string> principals;                                    // "ns/x/sa/y"

  explicit Running(const World& world) {
    for (const auto& item : world.pods) add(item.meta().namespace_, item.meta().labels, item.body->spec.service_account);
    for (const auto& item : world.templates)
      add(item.meta().namespace_, item.body->meta.labels, item.body->spec.service_account);
    for (const auto& item : world.entries) {
      add(item.meta().namespace_, item.meta().labels, item.body->service_account);
      labels[item.meta().namespace_].push_back(&item.body->labels);
    }
    for (const auto& item : world.workload_groups)
      add(item.meta().namespace_, item.body->labels, item.body->entry.service_account);
  }
  void add(const std::string& ns, const manifest::Labels& of, const std::string& account) {
    labels[ns].push_back(&of);
    principals.insert("ns/" + ns + "/sa/" + (account.empty() ? "default" : account));
  }
  bool any() const { return !labels.empty(); }
  bool selected(const std::string& ns, const manifest::Labels& selector) const {
    auto found = labels.find(ns);
    if (found == labels.end()) return false;
    for (const auto* of : found->second) {
      if (selects(selector, *of)) return true;
    }
    return false;
  }
  // A namespace other than `ns` where the selector would find something; empty when there is none.
  std::string elsewhere(const std::string& ns, const manifest::Labels& selector) const {
    for (const auto& [other, all] : labels) {
      if (other != ns && selected(other, selector)) return other;
    }
    return "";
  }
};

std::string text_of(const manifest::Labels& labels) {
  std::string out;
  for (const auto& [key, value] : labels) out += (out.empty() ? "" : ",") + key + "=" + value;
  return out;
}

// A selector that finds nothing is worth a word when there is something to find, or when the namespace looks forgotten:
// other security settings at hand name another one.
void no_matching_workloads(const World& world, const Running& running, const manifest::Meta& meta,
                           const manifest::Labels& selector, ObjectStatus& status) {
  // In the root namespace a selector looks everywhere, but for PeerAuthentications, whose selector is told elsewhere.
  const bool everywhere = meta.namespace_ == world.options.root_namespace;
  if (everywhere && status.object->kind == "PeerAuthentication") return;
  if (selector.empty()) {
    if (running.any() && !everywhere && !running.labels.contains(meta.namespace_))
      status.find(Level::kWarning, "NoMatchingWorkloads", "no workload at hand is of namespace " + meta.namespace_);
    return;
  }
  const auto other = running.elsewhere(meta.namespace_, selector);
  if (running.selected(meta.namespace_, selector) || (everywhere && !other.empty())) return;
  std::string hint;
  if (running.any()) {
    if (!other.empty()) hint = "; namespace " + other + " has some";
  } else {
    if (everywhere) return;
    if (status.object->kind != "AuthorizationPolicy") return;
    for (const auto& item : world.peer_authentications) {
      if (item.meta().namespace_ != meta.namespace_)
        hint = "; the PeerAuthentication beside it is for namespace " + item.meta().namespace_;
    }
    if (hint.empty()) return;
  }
  status.find(Level::kWarning, "NoMatchingWorkloads",
              "spec.selector: no workload of " + (everywhere ? "any namespace" : "namespace " + meta.namespace_) +
                  " has the labels " + text_of(selector) + hint);
}

void broader_than_intended(const PolicyItem& item) {
  const auto& policy = *item.body;
  if (policy.action != AuthorizationPolicy::Action::kAllow) return;
  std::string open;
  bool restricted = false;
  int line = 0;
  for (std::size_t i = 0; i < policy.rules.size(); ++i) {
    const auto& rule = policy.rules[i];
    const bool conditions = !rule.to.empty() || !rule.when.empty();
    if (!rule.from.empty()) {
      restricted = true;
    } else if (conditions) {
      open += (open.empty() ? "" : ", ") + std::string("rules[") + std::to_string(i) + "]";
      if (line == 0) line = rule.line;
    }
  }
  if (restricted && !open.empty())
    item.status->find(
        Level::kWarning, "BroaderThanLikelyIntended",
        "spec.rules are alternatives: " + open + " without from allow any source; to demand both, write one rule", line);
  for (const auto& rule : policy.rules) {
    for (const auto& condition : rule.when) {
      if (condition.key != "request.headers[authorization]" && condition.key != "request.headers[Authorization]") continue;
      item.status->find(Level::kWarning, "BroaderThanLikelyIntended",
                        "spec.rules.when " + condition.key +
                            ": a header value is not a verified token; use RequestAuthentication and requestPrincipals",
                        rule.line);
    }
  }
}

void unused_principals(const World& world, const Running& running, const PolicyItem& item) {
  std::set<std::string> said;
  for (const auto& rule : item.body->rules) {
    std::vector<const AuthorizationPolicy::Terms*> lists;
    for (const auto& source : rule.from) lists.push_back(&source.principals);
    for (const auto& condition : rule.when) {
      if (condition.key == "source.principal") lists.push_back(&condition.terms);
    }
    for (const auto* list : lists) {
      for (const auto& principal : list->values) {
        const auto at = principal.find("/ns/");
        if (at == principal.npos || principal.find('*') != principal.npos ||
            principal.find("/sa/", at + 4) == principal.npos)
          continue;
        const auto name = principal.substr(at + 1);
        const auto ns = principal.substr(at + 4, principal.find("/sa/", at + 4) - at - 4);
        const bool foreign = !is_own_trust_domain(world.options, principal.substr(0, at));
        if ((running.principals.contains(name) && !foreign) || !said.insert(principal).second) continue;
        // Without any workload at hand only the mesh's own namespace is worth a word: its accounts depend on the
        // installation.
        if (!running.any() && ns != world.options.root_namespace) continue;
        item.status->find(
            Level::kWarning, "PrincipalNotInUse",
            "principal " + principal.substr(0, 200) +
                (foreign ? ": identities of this mesh are written " + world.options.trust_domain + "/ns/NAMESPACE/sa/ACCOUNT"
                         : ": no workload at hand runs as this account"),
            rule.line);
      }
    }
  }
}

// Namespaces that no file describes are unknown rather than wrong, so some must be described.
void unknown_namespaces(const World& world, const PolicyItem& item) {
  if (world.namespaces.empty()) return;
  // What begins with a star is compared with every namespace. People write a few; a file may be hostile.
  constexpr int kSearchesMax = 100;
  int searches = 0;
  auto known = [&](const std::string& name) {
    const auto& all = world.namespaces;
    if (name.starts_with('*'))
      return ++searches > kSearchesMax ||
             std::any_of(all.begin(), all.end(), [&](const auto& entry) { return entry.first.ends_with(name.substr(1)); });
    if (!name.ends_with('*')) return all.contains(name);
    const auto prefix = name.substr(0, name.size() - 1);
    const auto first = all.lower_bound(prefix);
    return first != all.end() && first->first.starts_with(prefix);
  };
  std::set<std::string> said;
  for (const auto& rule : item.body->rules) {
    std::vector<const AuthorizationPolicy::Terms*> lists;
    for (const auto& source : rule.from) lists.push_back(&source.namespaces);
    for (const auto& condition : rule.when) {
      if (condition.key == "source.namespace") lists.push_back(&condition.terms);
    }
    for (const auto* list : lists) {
      auto named = list->values;
      named.insert(named.end(), list->not_values.begin(), list->not_values.end());
      for (const auto& name : named) {
        if (known(name) || !said.insert(name).second) continue;
        item.status->find(Level::kWarning, "ReferenceNotFound", "no namespace at hand is called " + name.substr(0, 100),
                          rule.line);
      }
    }
  }
}

// ALLOW policies with one selector are alternatives too.
void unions(const World& world) {
  std::map<std::pair<std::string, std::string>, std::vector<const PolicyItem*>> by_selector;
  for (const auto& item : world.authorization_policies) {
    if (item.body->has_selector && item.body->action == AuthorizationPolicy::Action::kAllow)
      by_selector[{item.meta().namespace_, text_of(item.body->selector)}].push_back(&item);
  }
  for (const auto& [key, items] : by_selector) {
    if (items.size() < 2) continue;
    for (const auto* item : items) {
      std::string others;
      for (const auto* other : items) {
        if (other != item && others.size() < 500) others += (others.empty() ? "" : ", ") + other->meta().name;
      }
      item->status->find(Level::kInfo, "Info",
                         "the same workloads have other ALLOW policies (" + others + "); one that matches suffices");
    }
  }
}

bool has_waypoint(const World& world, const std::string& ns) {
  auto bound = [](const manifest::Labels& labels) {
    auto found = labels.find("istio.io/use-waypoint");
    return found != labels.end() && !found->second.empty() && found->second != "none";
  };
  if (bound(world.namespace_labels(ns))) return true;
  for (const auto& item : world.services) {
    if (item.meta().namespace_ == ns && bound(item.meta().labels)) return true;
  }
  return false;
}

bool names_sources(const AuthorizationPolicy& policy) {
  for (const auto& rule : policy.rules) {
    if (!rule.from.empty()) return true;
  }
  return false;
}

}  // namespace

void advise_security(World& world) {
  const Running running(world);
  std::map<std::string, bool> waypoints;
  for (const auto& item : world.authorization_policies) {
    const auto& ns = item.meta().namespace_;
    if (!waypoints.contains(ns)) waypoints[ns] = has_waypoint(world, ns);
    const bool allow = item.body->action == AuthorizationPolicy::Action::kAllow;
    broader_than_intended(item);
    if (!item.body->targets.empty()) continue;
    no_matching_workloads(world, running, item.meta(), item.body->selector, *item.status);
    unused_principals(world, running, item);
    unknown_namespaces(world, item);
    if (allow && item.body->rules.empty() && !item.body->unreadable)
      item.status->find(Level::kInfo, "Info",
                        "spec: allows nothing, so every connection is denied, those of waypoints and gateways too");
    if (allow && waypoints[ns] && names_sources(*item.body))
      item.status->find(Level::kWarning, "Info",
                        "a waypoint serves namespace " + ns +
                            ": the node proxies then see the waypoint's identity, which this policy must allow too");
  }
  for (const auto& item : world.peer_authentications)
    no_matching_workloads(world, running, item.meta(), item.body->selector, *item.status);
  unions(world);
}

}  // namespace weft::translate::detail
