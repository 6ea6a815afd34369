// The node proxy as a whole: everything is built here once, in order, and torn down in reverse.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "certs/ca_client.h"
#include "certs/secret_manager.h"
#include "lib/admin/readiness.h"
#include "lib/admin/server.h"
#include "lib/async/scope.h"
#include "lib/async/semaphore.h"
#include "lib/base/log.h"
#include "lib/io/files.h"
#include "lib/io/network.h"
#include "lib/io/packet_socket.h"
#include "lib/io/resolver.h"
#include "lib/runtime/memory.h"
#include "lib/telemetry/metrics.h"
#include "lib/zds/client.h"
#include "ztunnel/identities.h"
#include "ztunnel/mesh.h"
#include "ztunnel/pods.h"
#include "ztunnel/settings.h"
#include "ztunnel/traffic.h"
#include "ztunnel/worker.h"

namespace weft::ztunnel {

// What the program stands on: the kernel's, or a simulated world's. All of it outlives the App.
struct Surroundings {
  Loop& control;  // the thread that everything but traffic runs on
  io::Network& network;
  io::Files& files;
  io::Resolver& resolver;
  io::PacketNetwork& packets;
  struct WorkerSeat {
    Loop& loop;
    io::NetworkFactory& networks;
  };
  std::vector<WorkerSeat> workers;
  std::string engine;                   // what the workers run on, for people
  std::uint64_t open_files_max = 1024;  // RLIMIT_NOFILE
};

class App {
 public:
  App(Settings settings, Surroundings surroundings);
  ~App();

  // Runs the proxy on the control loop: starts, serves until `stop`, /quitquitquit or a broken agent protocol, drains.
  // Returns the exit code; what went wrong was logged.
  Task<int> run(StopToken stop);

 private:
  // The phases of a start, in this order.
  Result<void> serve_readiness();
  Result<void> read_mesh();
  Result<void> prepare_certificates();
  void place_workers();
  Result<void> serve_admin();
  Task<void> follow_mesh();
  Task<Result<void>> start_own_proxy();
  Task<Result<void>> start_on(Worker& worker, const zds::Pod& pod, const ProxyKind& kind);
  Task<void> shut_down();

  Task<void> take_pods();
  Task<void> drain_own_proxy(Worker& worker);
  Result<void> serve(const IpAddress& ip, std::uint16_t port, const char* name, admin::Handler handler);
  Result<void> serve_wildcard(std::uint16_t port, const char* name, admin::Handler handler);
  Task<admin::Response> answer_stats(admin::Request request);
  Task<admin::Response> answer_admin(admin::Request request, StopToken stop);
  Task<admin::Response> dump_config(StopToken stop);
  Task<admin::Response> show_status(StopToken stop);
  void describe_process();

  const Settings settings_;
  const Surroundings around_;
  Loop& loop_;
  const std::string start_filter_ = log::current_filter();
  runtime::MemoryTrimmer memory_{loop_};
  telemetry::Registry registry_;
  telemetry::CounterFamily& refused_requests_ = registry_.counters(
      "weft_http_refused_requests", "The number of requests to our own pages that were refused or given up (unstable)");
  admin::Readiness readiness_{loop_.clock(), loop_.now()};
  TrafficFamilies traffic_{registry_};
  NodeLimits limits_{registry_, around_.open_files_max, settings_};

  std::unique_ptr<certs::CaClient> authority_;
  std::unique_ptr<certs::SecretManager> secrets_;
  std::unique_ptr<Identities> identities_;
  std::unique_ptr<Mesh> mesh_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<Pods> pods_;  // these two in shared mode
  std::unique_ptr<zds::Client> agent_;

  Event end_asked_{loop_};
  Semaphore dumping_{loop_, 1};  // one dump at a time: a large one takes tens of megabytes while it is made
  int exit_code_ = 0;
  Scope server_scope_{loop_};
  Scope agent_scope_{loop_};
};

}  // namespace weft::ztunnel
