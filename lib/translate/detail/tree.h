// Reading kinds without a type of their own.
#pragma once

#include <algorithm>
#include <string>

#include "lib/manifest/reader.h"
#include "lib/translate/detail/world.h"

namespace weft::translate::detail {

// A view of one untyped object. Fields of the wrong shape become findings of the object when the tree goes.
class Tree {
 public:
  explicit Tree(const Item<manifest::Untyped>& item) : item_(item), root_(item.body->document.get(), "", &problems_) {}
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;
  ~Tree() {
    for (const auto& problem : problems_.items()) {
      const auto message = (problem.path.empty() ? "" : problem.path + ": ") + problem.message;
      auto same = [&](const Condition& other) { return other.message == message && other.line == problem.line; };
      if (std::none_of(item_.status->conditions.begin(), item_.status->conditions.end(), same))
        item_.status->find(problem.level, problem.reason, message, problem.line);
    }
  }

  const manifest::Reader& root() const { return root_; }
  manifest::Reader spec() const { return root_.map("spec"); }
  // A finding about a field.
  void find(Level level, const char* reason, const manifest::Reader& at, const std::string& message) const {
    item_.status->find(level, reason, at.path() + ": " + message, at.line());
  }

 private:
  const Item<manifest::Untyped>& item_;
  manifest::Problems problems_;
  manifest::Reader root_;
};

inline bool is_kind(const Item<manifest::Untyped>& item, std::string_view group, std::string_view kind) {
  return item.object->group == group && item.object->kind == kind;
}

// A host as the mesh knows it: a name without dots is a Service of the object's own namespace.
inline std::string full_host(const World& world, const std::string& host, const std::string& namespace_name) {
  if (host.find('.') != host.npos || host == "*") return host;
  return host + "." + namespace_name + ".svc." + world.options.cluster_domain;
}

// "name.ns.svc.<cluster domain>" among the Services.
inline bool service_exists(const World& world, const std::string& host) { return world.service_hosts.contains(host); }

// What a user's file says, short enough for a message.
inline std::string shown(const std::string& text) { return "\"" + text.substr(0, 100) + "\""; }

}  // namespace weft::translate::detail
