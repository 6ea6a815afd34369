// The certificate manager as a whole, on any loop, network and file system.
//
//   App app(loop, network, files, settings);
//   auto started = app.start();
//   co_await app.run(stop);
#pragma once

#include "certs/manager/metrics.h"
#include "certs/manager/nodes.h"
#include "certs/manager/service.h"
#include "certs/manager/settings.h"
#include "certs/manager/signing.h"
#include "lib/admin/server.h"
#include "lib/grpc/listen.h"

namespace weft::certs::manager {

class App {
 public:
  App(Loop& loop, io::Network& network, io::Files& files, Settings settings);

  // Reads the three folders and listens. An error says what is wrong; the program then ends.
  Result<void> start();
  // Serves until `stop`; then takes no more connections, lets calls under way finish and returns.
  Task<void> run(StopToken stop);

  // Where it listens, after start().
  const SocketAddress& address() const { return address_; }
  const SocketAddress& status_address() const { return status_address_; }

 private:
  Task<admin::Response> status_page(admin::Request request);
  void refresh_metrics();

  Loop& loop_;
  io::Network& network_;
  const Settings settings_;
  Metrics metrics_;
  Signing signing_;
  Nodes nodes_;
  CertificateService service_;
  grpc::Server server_;
  grpc::ServerListener connections_;
  io::ListenerPtr listener_, status_listener_;
  SocketAddress address_, status_address_;
};

}  // namespace weft::certs::manager
