// One running instance of each program: its threads, what it stands on in the simulated world, and the production App.
//
// An instance runs from construction until it has ended; then it may be destroyed. Thread: the world's.
#pragma once

#include <memory>
#include <string>

#include "certs/manager/app.h"
#include "cni-plugin/agent/app.h"
#include "lib/async/scope.h"
#include "tests/sim/pod_network.h"
#include "tests/support/sim/files.h"
#include "tests/support/sim/process.h"
#include "ztunnel/app.h"

namespace weft::simulation {

// What programs of one machine share.
struct Machine {
  std::string name;
  sim::Host* host = nullptr;
  sim::Host* unix_host = nullptr;  // Unix stream sockets are connections inside it
  std::shared_ptr<sim::FileTree> files;
  std::shared_ptr<sim::SocketFiles> sockets;
  PodNamespaces spaces;
};
// Ports in unix_host that stand for the agent's socket files.
inline constexpr std::uint16_t kPluginEvents = 1, kPluginLog = 2;

class Program {
 public:
  Program(sim::World& world, sim::Internet& internet, Machine& machine, const std::string& name);
  virtual ~Program();

  bool ended() const { return begun_ && scope_.running() == 0; }
  void stop() { stop_.request_stop(); }
  // SIGKILL. What is left of it ends by itself later.
  void kill();
  bool killed() const { return process_.killed(); }
  int exit_code() const { return exit_code_; }
  const std::string& name() const { return process_.name(); }

 protected:
  void retire() { process_.retire(); }

  sim::World& world_;
  sim::Internet& internet_;
  Machine& machine_;
  sim::Process process_;
  sim::SimLoop& loop_;
  std::unique_ptr<io::NetworkFactory> networks_;
  io::NetworkPtr network_;
  sim::MemoryFiles files_;
  sim::SimPackets packets_;
  StopSource stop_;
  bool begun_ = false;
  int exit_code_ = 0;
  Scope scope_;
};

using ProgramPtr = std::unique_ptr<Program>;

ProgramPtr start_authority(sim::World& world, sim::Internet& internet, Machine& machine, Duration certificate_life);
ProgramPtr start_agent(sim::World& world, sim::Internet& internet, Machine& machine);
struct ProxyOptions {
  unsigned workers = 1;
  unsigned streams_max = 100;  // POOL_MAX_STREAMS_PER_CONNECTION
};
ProgramPtr start_proxy(sim::World& world, sim::Internet& internet, Machine& machine, const ProxyOptions& options);

inline constexpr const char* kAuthorityAddress = "10.0.0.9";
// How long an unused connection between proxies lives here.
inline constexpr Duration kUnusedRelease = std::chrono::seconds(10);

}  // namespace weft::simulation
