// The simulated mesh: two nodes with their agent and proxy, the authority, pods, and what keeps programs running (the
// kubelet's part).
//
// Everything advances in run_for() and run_until(); between steps programs that ended are started again, and ghosts of
// killed ones are buried when they have ended.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/programs.h"
#include "tests/sim/traffic.h"

namespace weft::simulation {

enum class Role { kAuthority, kAgent, kProxy };

struct MeshOptions {
  ProxyOptions proxy;
  Duration certificate_life = std::chrono::hours(1);
};

class Mesh {
 public:
  Mesh(std::uint64_t seed, MeshOptions options, MeshFacts facts);
  ~Mesh();

  sim::World& world() { return world_; }
  sim::Internet& internet() { return internet_; }
  Watch& watch() { return watch_; }
  Traffic& traffic() { return traffic_; }
  const MeshFacts& facts() const { return history_.now(); }
  PodNamespaces& spaces(std::size_t node) { return machines_[node].spaces; }
  sim::FileTree& files() { return *files_; }
  sim::Host& pod_host(std::size_t pod) { return *pods_[pod].host; }
  bool pod_started(std::size_t pod) const { return pods_[pod].started; }

  // Starts everything; pods start as their nodes let them.
  void start();
  // Writes manifests that say so.
  void change(MeshFacts facts);
  // The program of a role on a node (of the authority: 0).
  void kill(Role role, std::size_t node, Duration away);
  void restart(Role role, std::size_t node, Duration away);
  // The pod is deleted; after `gap` another one of its name and address comes, with another UID and `account`.
  void replace_pod(std::size_t pod, std::string account, Duration gap);

  // False when something failed meanwhile.
  bool run_for(Duration by);
  bool run_until(const std::function<bool()>& done, Duration limit);

  // Rules are where they should be and programs say that they are ready.
  bool settled();
  // Stops everything in order and checks that nothing is left.
  void finish();
  // Connections that may still be open between proxies.
  std::size_t tunnels() const { return internet_.connections_to(15008); }

 private:
  struct Slot {
    Role role;
    std::size_t node;
    std::string name;
    ProgramPtr current;
    bool wanted = true;
    MonotonicTime start_at{};
  };
  struct Pod {
    sim::Host* host = nullptr;
    bool started = false;
  };
  bool step();
  void tend();
  Slot& slot(Role role, std::size_t node);
  ProgramPtr start_program(const Slot& slot);
  Task<void> start_pod(std::size_t pod);
  Task<void> replace(std::size_t pod, std::string account, Duration gap);
  Task<Result<void>> ask_plugin(std::size_t pod);
  Task<void> look_at_readiness(sim::Host& host, std::uint16_t port, std::string path, bool& ready);
  void lose(Slot& slot, Duration away);

  const MeshOptions options_;
  sim::World world_;
  sim::Internet internet_{world_};
  History history_;
  Watch watch_;
  std::shared_ptr<sim::FileTree> files_ = std::make_shared<sim::FileTree>();
  std::array<Machine, 3> machines_;  // two nodes, the authority's
  std::vector<Slot> slots_;
  std::vector<ProgramPtr> ghosts_;  // killed, or stopping
  std::vector<Pod> pods_;
  Traffic traffic_;
  sim::SimLoop& runtime_loop_;
  Scope runtime_;
  bool running_ = false;
  MonotonicTime stepped_at_{};
  std::size_t steps_at_once_ = 0;  // at the same moment
};

}  // namespace weft::simulation
