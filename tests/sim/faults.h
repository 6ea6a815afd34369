// What goes wrong in a run: drawn from chance, each a moment and what happens then.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/sim/mesh.h"

namespace weft::simulation {

// Strict namespaces and policies drawn anew.
MeshFacts with_security(MeshFacts facts, Random& random);

class Faults {
 public:
  struct Fault {
    Duration at{};
    std::function<void()> strike;
  };

  // What networks do all the time of a run and nobody should notice is drawn here. References outlive the object.
  Faults(Mesh& mesh, Random& random);
  // Some faults within `length`; they strike on this object.
  std::vector<Fault> draw(Duration length);
  // Nothing goes wrong from here on, and what was broken is whole again.
  void end();

 private:
  using Field = double sim::Faults::*;
  // The network does so with this chance, for a while.
  void network(const char* what, Field field, double chance, Duration length);
  void jump(Duration by, Duration length);
  void lose(Role role, std::size_t node, Duration away);
  void change_policies();
  void toggle_label(std::size_t pod);
  void replace_pod(std::size_t pod, Duration gap);
  void break_file(const std::string& path, Duration length);
  void mend_file(const std::string& path);
  void fail_rules(std::size_t node, Duration length);
  void fill_disk(Duration length);
  std::function<void()> one(std::uint64_t kind);

  Mesh& mesh_;
  Random& random_;
  sim::Faults noise_;
  Duration clock_off_{};
  std::map<std::string, std::string> broken_;  // by path: what was there, empty for nothing
  bool over_ = false;
};

}  // namespace weft::simulation
