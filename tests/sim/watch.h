// What must hold at every step, found out from outside the programs: by those who send and receive, and on the wires.
//
//   bytes     what arrives is what was sent, from the beginning and without a gap; a clean end means that all of it came
//   secrecy   a pod that takes tunnels is never sent plain text by a pod of the mesh; one that is STRICT takes none from
//   anybody policy    nothing is delivered that no policy of the last moments allowed
//
// Every stream of an application is a repetition of blocks that name it, so that a part of it is known wherever it is seen.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/mesh_state.h"
#include "tests/support/sim/network.h"

namespace weft::simulation {

inline constexpr std::uint16_t kClientFirstPort = 8080, kServerFirstPort = 9090;

// A direction of a connection between applications. Tags begin at 1; those of servers have kServerTag set.
using Tag = std::uint32_t;
inline constexpr Tag kServerTag = 0x8000'0000;
inline constexpr std::size_t kBlock = 32;

// `size` bytes of the stream `tag` from `offset`.
std::string content(Tag tag, std::uint64_t offset, std::size_t size);

struct Flow {
  Tag tag = 0;
  std::size_t client = 0, server = 0;
  std::uint16_t port = 0;
  std::uint64_t upload = 0, download = 0;
  bool duplex = false;
  Duration pause{};
  MonotonicTime began{};
  bool redirected = false;   // the client's pod had rules when it dialled
  bool seen_plain = false;   // on a wire, towards a proxy
  bool seen_direct = false;  // on a wire, towards the application
  bool disturbed = false;    // a proxy on its way was killed: the kernel ends its sockets as if it had finished
  Tag answer = 0;            // the server's stream, once it is known
};

// What a sender did.
struct Sending {
  std::uint64_t sent = 0;
  bool finished = false;
  Tag flow = 0;  // 0: not known yet
};

class Watch {
 public:
  Watch(sim::World& world, const History& history) : world_(world), history_(history) {}

  // The first thing that must not be; empty while all is well.
  const std::string& failure() const { return failure_; }
  void fail(std::string what);
  // Told every event when somebody follows the run.
  std::function<void(const std::string&)> trace;
  void say(const std::string& what) {
    if (trace) trace(what);
  }

  Flow& begin(std::size_t client, std::size_t server, std::uint16_t port, bool redirected);
  Flow* flow(Tag tag);
  Sending& sending(Tag tag) { return sendings_[tag]; }
  Tag next_server_tag() { return kServerTag | ++server_tags_; }
  // The pod that dialled and the pod that answers are known to the server alone.
  void match(Tag server_tag, Tag client_tag);
  void proxy_killed(std::size_t node);
  void on_wire(const sim::Wire& wire, const BufferChain& data);
  // An application of `server` accepted a connection from `caller`'s address.
  void accepted(const SocketAddress& peer, std::size_t caller, std::size_t server, std::uint16_t port);
  // Bytes came to the application of the flow's server.
  void delivered(const Flow& flow, std::size_t from);
  const std::map<Tag, Flow>& flows() const { return flows_; }

 private:
  void look(std::string_view text, const sim::Wire& wire);
  void plain_seen(Tag tag, const sim::Wire& wire);

  sim::World& world_;
  const History& history_;
  std::string failure_;
  std::map<Tag, Flow> flows_;
  std::map<Tag, Sending> sendings_;
  Tag tags_ = 0, server_tags_ = 0;
  std::map<std::uint64_t, std::string> tails_;  // by connection and direction: the last bytes, where a tag may begin
  std::set<SocketAddress> direct_;              // callers whose connections no proxy handled
};

// One direction as its receiver sees it.
class Receiver {
 public:
  explicit Receiver(Watch& watch) : watch_(watch) {}
  Tag tag() const { return tag_; }
  std::uint64_t received() const { return received_; }
  void take(const BufferChain& data);
  // The stream ended cleanly.
  void end();

 private:
  Watch& watch_;
  Tag tag_ = 0;
  std::uint64_t received_ = 0;
  std::string head_;  // of the first block, until it says the tag
};

}  // namespace weft::simulation
