// The node proxy's side of the pod handover: connects to the node agent, says hello, and turns its requests into calls.
//
// One request at a time: it is read, handed to PodEvents, awaited, and answered. What happens to a message:
//
//   handled                                          -> empty ack
//   add() returns an error                           -> ack "failure to start proxy : <error>"; the connection stays
//   cannot be read: too long, no message, wrong      -> ack "failure to read message : <error>"; disconnected(), reconnect
//     number of descriptors, no pod named
//   breaks the protocol: Add without the pod's info, -> ack "failure to process message : <error>"; run() returns kProtocol
//     Keep or SnapshotSent after SnapshotSent           and the program is expected to drain and end with code 1
//   end of the connection, ack cannot be sent        -> disconnected(), reconnect
//
// Reconnecting is at once when the snapshot had arrived, else after 5 ms, doubling to 15 s, +-20 %; connecting is tried
// again after 20 ms, doubling to 15 s, for ever. Source: ztunnel's src/inpod/statemanager.rs and workloadmanager.rs.
//
// Thread: the loop's. `loop`, `network` and `events` outlive the client.
#pragma once

#include <set>
#include <string>

#include "lib/async/loop.h"
#include "lib/base/fd.h"
#include "lib/io/packet_socket.h"
#include "lib/zds/messages.h"

namespace weft::zds {

// What the agent wants. Calls come one after another, never two at once; the next message waits until a task has ended, and
// the agent gives up on an answer after 5 s. Readiness is to be right when a task ends: the ack tells the agent so.
class PodEvents {
 public:
  virtual ~PodEvents() = default;

  // A connection was made and a snapshot begins: pods that wait for a retry are forgotten, those that run go on. Not ready
  // until snapshot_done().
  virtual void connected() = 0;
  // Serve this pod. `netns` is its network namespace; its identity is (st_dev, st_ino). The same pod in the same namespace
  // is success without a change; in another one the old proxy goes and a new one comes. On an error keep the pod and the
  // descriptor and try again later by yourself. `stop` fires when the client stops.
  virtual Task<Result<void>> add(Pod pod, Fd netns, StopToken stop) = 0;
  // After the snapshot: the pod is gone, or no longer in the mesh. Unknown ones are fine.
  virtual Task<void> remove(std::string uid) = 0;
  // Inside the snapshot: the pod was named and is taken back. A retry of it is forgotten; a proxy that runs already goes
  // with snapshot_done(), whose set no longer names it.
  virtual void forget(std::string uid) = 0;
  // The snapshot is complete: `named` are the pods that were added (successfully or not) or kept. All others go.
  virtual Task<void> snapshot_done(std::set<std::string> named) = 0;
  // The connection is lost: not ready; pods that run go on, and so do retries.
  virtual void disconnected() = 0;
};

class Client {
 public:
  static constexpr Duration kConnectRetryMin = std::chrono::milliseconds(20);
  static constexpr Duration kSessionRetryMin = std::chrono::milliseconds(5);
  static constexpr Duration kRetryMax = std::chrono::seconds(15);
  // Pods a snapshot may name: far above what a node runs (110 by default, some hundreds at most), far below what memory
  // holds.
  static constexpr std::size_t kPodsMax = 65'536;

  // `path` of the agent's socket (INPOD_UDS).
  Client(Loop& loop, io::PacketNetwork& network, PodEvents& events, std::string path);

  // Runs until `stop` (success) or until the agent breaks the protocol (kProtocol). A call of `events` that is under way
  // when `stop` fires is awaited.
  Task<Result<void>> run(StopToken stop);

  bool connected() const { return connected_; }

 private:
  // Null when stopped.
  Task<io::PacketSocketPtr> connect(StopToken stop);
  // One connection from hello to its end. An error ends the client.
  Task<Result<void>> serve(io::PacketSocket& socket, StopToken stop);
  // An Error here is an error of the protocol; the text is that of the ack.
  Task<Result<std::string>> handle(Request request, Fd netns, StopToken stop);
  Task<Result<std::string>> add(Add request, Fd netns, StopToken stop);

  Loop& loop_;
  io::PacketNetwork& network_;
  PodEvents& events_;
  const std::string path_;
  bool connected_ = false;
  // Of the connection that is up.
  bool snapshot_done_ = false;
  std::set<std::string> named_;
};

}  // namespace weft::zds
