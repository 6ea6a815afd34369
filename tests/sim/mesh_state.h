// What the manifests of a simulated mesh say, as files for the programs and as an oracle of our own: may this pod talk to
// that one? The oracle knows nothing of lib/model, so that both cannot be wrong alike.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/ip.h"
#include "tests/support/sim/files.h"

namespace weft::simulation {

struct PodFacts {
  std::string name, namespace_name, account;
  std::size_t node = 0;
  IpAddress ip;
  std::string uid;
  bool labelled = false;  // to be in the mesh
  bool exists = true;
};

struct PolicyFacts {
  enum class Action { kAllow, kDeny };
  Action action = Action::kAllow;
  std::string namespace_name;
  std::optional<std::size_t> selects;   // a pod; none: the namespace
  std::optional<std::size_t> from_pod;  // the account of a pod
  std::string from_namespace;           // used when there is no from_pod
  std::optional<std::uint16_t> port;    // none: any
};

struct MeshFacts {
  std::vector<PodFacts> pods;
  std::vector<std::string> strict_namespaces;
  std::vector<PolicyFacts> policies;

  bool is_strict(const PodFacts& pod) const;
};

// How a connection reached its destination.
enum class Way { kPlain, kTunnel };

// Whether `to`, being in the mesh, accepts `from` on `port`.
bool may(const MeshFacts& facts, std::size_t from, std::size_t to, std::uint16_t port, Way way);

std::string node_name(std::size_t node);
// Writes what differs from `before` (null: everything) below /state.
void write_manifests(sim::FileTree& tree, const MeshFacts& facts, const MeshFacts* before);

// The facts over time. A program may act on any state that was true within `grace` before.
class History {
 public:
  // Manifests are read 50 ms after they were written; the rest is for segments that are under way meanwhile.
  static constexpr Duration kGrace = std::chrono::seconds(2);

  void add(MonotonicTime now, MeshFacts facts) { entries_.push_back({now, std::move(facts)}); }
  const MeshFacts& now() const { return entries_.back().facts; }
  // True when `holds` for a state between `from` and `until`.
  template <typename Predicate>
  bool any(MonotonicTime from, MonotonicTime until, const Predicate& holds) const {
    for (std::size_t i = entries_.size(); i-- > 0;) {
      if (entries_[i].since > until) continue;
      if (holds(entries_[i].facts)) return true;
      if (entries_[i].since <= from) break;
    }
    return false;
  }

 private:
  struct Entry {
    MonotonicTime since;
    MeshFacts facts;
  };
  std::vector<Entry> entries_;
};

}  // namespace weft::simulation
