// The node proxy as a whole: everything is built here once, in order, and torn down in reverse.
#pragma once

#include <memory>
#include <vector>

#include "certs/ca_client.h"
#include "certs/secret_manager.h"
#include "lib/admin/readiness.h"
#include "lib/admin/server.h"
#include "lib/asio/files.h"
#include "lib/asio/loop.h"
#include "lib/asio/network.h"
#include "lib/asio/packet_socket.h"
#include "lib/asio/resolver.h"
#include "lib/async/scope.h"
#include "lib/runtime/memory.h"
#include "lib/runtime/process.h"
#include "lib/runtime/workers.h"
#include "lib/telemetry/metrics.h"
#include "lib/zds/client.h"
#include "ztunnel/identities.h"
#include "ztunnel/mesh.h"
#include "ztunnel/pods.h"
#include "ztunnel/settings.h"
#include "ztunnel/traffic.h"
#include "ztunnel/worker.h"

namespace weft::ztunnel {

class App {
 public:
  explicit App(Settings settings);
  ~App();

  // Runs the proxy until it is asked to end and has drained. Returns the exit code. The calling thread is the control thread.
  int run();

 private:
  Task<void> live();
  // The phases of a start, in this order.
  Result<void> check_capabilities();
  Result<void> serve_readiness();
  Result<void> read_mesh();
  Result<void> prepare_certificates();
  Result<void> start_workers();
  Result<void> serve_admin();
  Task<void> follow_mesh();
  // Until a signal, /quitquitquit, or a broken agent protocol.
  Task<void> wait_for_end();
  Task<void> shut_down();

  Task<void> watch_signals();
  Task<void> take_pods();
  Result<void> serve(const IpAddress& ip, std::uint16_t port, const char* name, admin::Handler handler);
  Result<void> serve_wildcard(std::uint16_t port, const char* name, admin::Handler handler);
  Task<admin::Response> answer_stats(admin::Request request);
  Task<admin::Response> answer_admin(admin::Request request);
  void describe_process();

  const Settings settings_;
  asio::Loop loop_;
  asio::Networks networks_{loop_};
  io::NetworkPtr network_;
  asio::KernelFiles files_{loop_};
  asio::Resolver resolver_{loop_};
  asio::UnixPackets packets_{loop_};
  runtime::ShutdownSignals signals_{loop_};
  runtime::MemoryTrimmer memory_{loop_};
  telemetry::Registry registry_;
  admin::Readiness readiness_{loop_.clock(), loop_.now()};
  TrafficFamilies traffic_{registry_};

  std::unique_ptr<certs::CaClient> authority_;
  std::unique_ptr<certs::SecretManager> secrets_;
  std::unique_ptr<Identities> identities_;
  std::unique_ptr<Mesh> mesh_;
  std::unique_ptr<runtime::Workers> threads_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<Pods> pods_;
  std::unique_ptr<zds::Client> agent_;

  Event end_asked_{loop_};
  int exit_code_ = runtime::kExitOk;
  Scope signal_scope_{loop_};
  Scope server_scope_{loop_};
  Scope agent_scope_{loop_};
  Scope main_scope_{loop_};
};

}  // namespace weft::ztunnel
