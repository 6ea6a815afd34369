// The node agent's side of the pod handover: accepts node proxies, replays the pods to each, then passes on changes.
//
// A connection's life: hello within 5 s, the snapshot pod by pod, SnapshotSent, then additions and removals in the order
// asked for. One request is outstanding at a time; sending and the wait for the answer have 5 s each, after which the
// connection is closed (an answer that came late would be taken for that of the next request; the proxy reconnects and gets
// a snapshot that is right). What a proxy says unasked closes its connection too, and so its end is noticed at once.
//
// Two proxies at once are an upgrade: the newest gets the additions, all get the removals. When the newest goes, the one
// before becomes newest; its pods are those it knew, so Owner::links_changed() is the owner's cue to announce the rest.
// Source: istio's cni/pkg/nodeagent/ztunnelserver.go.
//
// Thread: the loop's. `loop`, `network` and `owner` outlive the server.
#pragma once

#include <deque>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "lib/async/event.h"
#include "lib/async/scope.h"
#include "lib/base/fd.h"
#include "lib/io/packet_socket.h"
#include "lib/zds/messages.h"

namespace weft::zds {

using NetnsPtr = std::shared_ptr<const Fd>;
// One connection of a proxy, never used twice; 0 is none.
using LinkId = std::uint64_t;

struct SnapshotPod {
  Pod pod;
  NetnsPtr netns;  // null: sent as Keep
};

// Who knows the pods.
class Owner {
 public:
  virtual ~Owner() = default;
  // The pods a proxy that just connected shall serve; those left out it gives up. Called once a connection; from then on
  // additions and removals reach that connection after its snapshot.
  virtual std::vector<SnapshotPod> snapshot(LinkId link) = 0;
  // A pod of the snapshot sent with its namespace was answered: served, or the proxy's error. Or it is one that no message
  // can name (encode()): the proxy does not hear of it.
  virtual void answered(LinkId link, const std::string& uid, Result<void> outcome) = 0;
  // The newest connection is another one, or none (0), or one came or went.
  virtual void links_changed(LinkId newest, std::size_t count) = 0;
};

class Server {
 public:
  static constexpr Duration kAnswerLimit = std::chrono::seconds(5);
  // Changes waiting for one proxy, as upstream: each holds a caller, and callers have 5 s.
  static constexpr std::size_t kQueueMax = 100;
  // Proxies at a time: two during an upgrade, some more while dead ones are being noticed.
  static constexpr std::size_t kLinksMax = 8;
  // Between two accepted connections (5/s), so that a proxy that fails at once cannot keep us busy with snapshots.
  static constexpr Duration kAcceptPause = std::chrono::milliseconds(200);

  Server(Loop& loop, io::PacketNetwork& network, Owner& owner);
  ~Server();

  // Makes the socket at `path`; proxies may connect from then on, and are served once run() goes. 0600: who may connect gets
  // into every pod's network.
  Result<void> listen(const std::string& path);
  // Serves until `stop`, then closes every connection and returns.
  Task<void> run(StopToken stop);

  // Asks the newest proxy to serve a pod. Returns the connection that said yes. kUnavailable without a proxy, kLimit when
  // too much waits for it, kRefused with the proxy's error, kClosed or kTimeout when the connection ended; of encode() for a
  // pod that no message can name.
  Task<Result<LinkId>> add(Pod pod, NetnsPtr netns, StopToken stop);
  // Tells every proxy that a pod is gone and waits for all. None is success; so is a connection that ends meanwhile, as the
  // next snapshot no longer names the pod: the owner takes it out of snapshot() before it calls this. A UID that no message
  // can name is success too.
  Task<Result<void>> remove(std::string uid, StopToken stop);

  LinkId newest() const;
  std::size_t links() const { return links_.size(); }

 private:
  struct Change;
  struct Link;
  using ChangePtr = std::shared_ptr<Change>;
  using LinkPtr = std::shared_ptr<Link>;

  Task<void> serve(io::PacketSocketPtr socket, StopToken stop);
  Task<Result<void>> greet(io::PacketSocket& socket, StopToken stop);
  Task<Result<void>> replay(LinkPtr link, std::vector<SnapshotPod> pods);
  Task<Result<void>> pass_changes(LinkPtr link);
  // Sends and awaits the ack; its error text is the value. An Error is the connection's.
  Task<Result<std::string>> ask(LinkPtr link, std::string message, NetnsPtr netns);
  Task<void> listen_to(LinkPtr link);
  Result<ChangePtr> enqueue(Link& link, std::string message, NetnsPtr netns);

  Loop& loop_;
  io::PacketNetwork& network_;
  Owner& owner_;
  io::PacketListenerPtr listener_;
  std::list<LinkPtr> links_;  // oldest first
  std::size_t greeting_ = 0;  // accepted, without a hello yet
  LinkId last_id_ = 0;
};

}  // namespace weft::zds
