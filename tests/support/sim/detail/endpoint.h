// One end of a simulated connection and the stream over it.
#pragma once

#include "lib/async/event.h"
#include "tests/support/sim/network.h"

namespace weft::sim::detail {

struct Endpoint : std::enable_shared_from_this<Endpoint> {
  Endpoint(Internet& net, Loop& owner, Host& at) : internet(net), loop(owner), host(at), readable(owner), writable(owner) {
    writable.set();
  }

  // Sending side.
  void send(BufferChain data);
  void send_fin();
  void send_rst();
  void tell(const BufferChain& data) const;  // the observer of the wires
  // Arrivals.
  void receive(BufferChain data);
  void receive_fin();
  void receive_rst();
  // Ours.
  void taken(std::size_t count);
  void close(bool with_reset);
  // The process is gone and the kernel closes for it; calls of what is left of it end as after an abort.
  void process_ended();
  void transmit(std::function<void(Endpoint&)> arrival);

  Internet& internet;
  Loop& loop;
  Host& host;
  std::uint64_t connection = 0;
  bool client = false;
  SocketAddress dialled_by, dialled;
  std::uint16_t port = 0;          // where it arrived
  std::shared_ptr<Endpoint> peer;  // a cycle, cut when both ends are closed
  BufferChain received;
  std::size_t ahead = 0;  // bytes sent and not read by the peer
  std::uint64_t read_by_peer = 0;
  MonotonicTime last_arrival{};
  bool fin_received = false;
  bool fin_sent = false;
  bool reset = false;
  bool aborted = false;
  bool closed = false;
  Event readable;
  Event writable;
};

io::StreamPtr make_stream(std::shared_ptr<Endpoint> endpoint);

}  // namespace weft::sim::detail
