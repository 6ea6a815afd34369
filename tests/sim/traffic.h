// The applications of the simulated pods: servers on two ports, and clients that talk to them in several ways.
//
// All run on one loop. Their sockets belong to the pods' hosts.
#pragma once

#include <memory>
#include <optional>

#include "lib/async/scope.h"
#include "tests/sim/watch.h"

namespace weft::simulation {

enum class Style {
  kRequest,      // send, end our direction, read the answer to its end
  kServerFirst,  // wait for the greeting, then as kRequest
  kDuplex,       // both send at the same time
  kReset,        // give up in the middle with a reset
  kAbandon,      // close without reading
};

struct Call {
  std::size_t client = 0, server = 0;
  Style style = Style::kRequest;
  std::uint64_t upload = 1, download = 1;  // bytes
  Duration pause{};                        // between pieces
};

// How a call ended for its client.
struct CallOutcome {
  Tag tag = 0;
  bool connected = false;
  bool complete = false;  // everything was sent and the whole answer came
  std::string error;
};

class Traffic {
 public:
  // `pod_of` says which pod has an address. References outlive the object.
  Traffic(sim::World& world, sim::Internet& internet, Watch& watch, std::function<std::size_t(const IpAddress&)> pod_of);

  // The pod's application runs from now on.
  void serve(std::size_t pod, sim::Host& host);
  // It ends: its sockets are closed.
  Task<void> end(std::size_t pod);
  Task<void> call(sim::Host& host, SocketAddress server, Call plan, CallOutcome& outcome);
  void spawn(Task<void> task) { clients_.spawn(std::move(task)); }

  sim::SimLoop& loop() { return loop_; }
  std::size_t running() const { return clients_.running(); }
  // Ends all servers and waits for everybody.
  Task<void> stop();

 private:
  struct Server {
    Server(Loop& loop) : scope(loop) {}
    io::NetworkPtr network;
    std::vector<io::ListenerPtr> listeners;
    Scope scope;
  };
  Task<void> accept_all(io::Listener& listener, Server& server, std::size_t pod, std::uint16_t port);
  Task<void> answer(io::Accepted accepted, std::size_t pod, std::uint16_t port, StopToken stop);
  // Sends to the end of the stream; false after an error.
  Task<void> send(io::Stream& stream, Tag tag, std::uint64_t size, Duration pause, bool& ok);
  Task<void> receive(io::Stream& stream, Receiver& receiver, bool& ok, std::string& error);

  sim::World& world_;
  sim::Internet& internet_;
  Watch& watch_;
  std::function<std::size_t(const IpAddress&)> pod_of_;
  sim::SimLoop& loop_;
  std::map<std::size_t, std::unique_ptr<Server>> servers_;
  Scope clients_;
};

}  // namespace weft::simulation
