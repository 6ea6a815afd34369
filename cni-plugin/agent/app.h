// The node agent as a whole, on any loop, network and file system.
//
//   App app(platform, settings);
//   auto started = app.start();
//   co_await app.run(stop);
//
// Nobody is served before the pods are known: a proxy that connects is told everything, the plugin finds every pod.
#pragma once

#include <functional>
#include <string>

#include "cni-plugin/agent/folder_source.h"
#include "cni-plugin/agent/memory.h"
#include "cni-plugin/agent/metrics.h"
#include "cni-plugin/agent/plugin_server.h"
#include "cni-plugin/agent/reconciler.h"
#include "cni-plugin/agent/settings.h"

namespace weft::cni::agent {

// What the machine offers. All of it outlives the App.
struct Platform {
  Loop& loop;
  io::Network& network;
  io::PacketNetwork& packets;
  io::Files& files;
  PodNetwork& pod_network;
  // Listens on a Unix stream socket with these permissions.
  std::function<Result<io::ListenerPtr>(const std::string& path, unsigned mode)> listen_unix;
  std::string host;  // where the host's file system is: "", or "/host" in a container
};

class App {
 public:
  App(Platform platform, Settings settings);

  // An error says what is wrong; the program then ends.
  Result<void> start();
  // Serves until `stop`. Pods stay as they are, and so do the node's rules unless the settings say otherwise: the next agent
  // takes them over.
  Task<void> run(StopToken stop);

 private:
  Result<io::ListenerPtr> listen_on(std::uint16_t port);
  Result<io::ListenerPtr> listen_on_loopback(std::uint16_t port);
  // GET /status, for those who may enter our network namespace.
  Task<admin::Response> admin_request(admin::Request request);

  const Platform platform_;
  const Settings settings_;
  Metrics metrics_;
  Memory memory_;
  Reconciler reconciler_;
  FolderPods source_;
  PluginServer server_;
  io::ListenerPtr events_, log_, probes_, numbers_, admin_;
};

}  // namespace weft::cni::agent
