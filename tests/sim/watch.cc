#include "tests/sim/watch.h"

#include <charconv>
#include <cstring>

#include "lib/base/log.h"

namespace weft::simulation {
namespace {

constexpr std::string_view kMark = "WEFT";
constexpr std::size_t kTagEnd = 12;  // of a block: the mark and eight digits

std::string block(Tag tag, std::uint64_t index) { return fmt::format("{}{:08x}-{:010x}........\n", kMark, tag, index); }

Tag tag_in(std::string_view text) {
  Tag tag = 0;
  const auto digits = text.substr(kMark.size(), 8);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), tag, 16);
  return error == std::errc() && end == digits.data() + digits.size() ? tag : 0;
}

std::string ms(MonotonicTime time) {
  return fmt::format("{:.3f} s", std::chrono::duration<double>(time.time_since_epoch() - std::chrono::hours(1)).count());
}

}  // namespace

std::string content(Tag tag, std::uint64_t offset, std::size_t size) {
  std::string text;
  const std::uint64_t first = offset / kBlock;
  text.reserve(size + 2 * kBlock);
  for (std::uint64_t index = first; text.size() < offset % kBlock + size; ++index) text += block(tag, index);
  return text.substr(offset % kBlock, size);
}

void Watch::fail(std::string what) {
  if (!failure_.empty()) return;
  failure_ = fmt::format("at {}: {}", ms(world_.clock().monotonic()), what);
  say("FAILURE " + failure_);
}

Flow& Watch::begin(std::size_t client, std::size_t server, std::uint16_t port, bool redirected) {
  Flow& made = flows_[++tags_];
  made.tag = tags_;
  made.client = client;
  made.server = server;
  made.port = port;
  made.redirected = redirected;
  made.began = world_.clock().monotonic();
  sendings_[made.tag].flow = made.tag;
  return made;
}

Flow* Watch::flow(Tag tag) {
  const auto found = flows_.find(tag);
  return found == flows_.end() ? nullptr : &found->second;
}

void Watch::match(Tag server_tag, Tag client_tag) {
  if (Flow* known = flow(client_tag)) known->answer = server_tag;
  sendings_[server_tag].flow = client_tag;
}

void Watch::proxy_killed(std::size_t node) {
  for (auto& [tag, flow] : flows_) {
    const auto& pods = history_.now().pods;
    if (pods[flow.client].node == node || pods[flow.server].node == node) flow.disturbed = true;
  }
}

void Watch::on_wire(const sim::Wire& wire, const BufferChain& data) {
  if (&wire.from == &wire.to) return;
  if (data.empty()) {  // it was opened
    if (wire.port == kClientFirstPort || wire.port == kServerFirstPort) direct_.insert(wire.client);
    return;
  }
  std::string& tail = tails_[wire.connection * 2 + (wire.toward_server ? 1 : 0)];
  for (std::size_t i = 0; i < data.slice_count(); ++i) {
    const auto text = data.slice(i).view();
    look(tail + std::string(text.substr(0, kTagEnd - 1)), wire);
    look(text, wire);
    tail += text.substr(text.size() - std::min(text.size(), kTagEnd - 1));
    tail.erase(0, tail.size() - std::min(tail.size(), kTagEnd - 1));
  }
}

void Watch::look(std::string_view text, const sim::Wire& wire) {
  const auto at = text.find(kMark);
  if (at == text.npos || text.size() - at < kTagEnd) return;
  if (const Tag tag = tag_in(text.substr(at))) plain_seen(tag, wire);
}

void Watch::accepted(const SocketAddress& peer, std::size_t caller, std::size_t server, std::uint16_t port) {
  if (direct_.contains(peer)) return;
  const auto now = world_.clock().monotonic();
  const bool allowed = history_.any(now - History::kGrace, now, [&](const MeshFacts& facts) {
    const auto& pod = facts.pods[server];
    return !pod.labelled || !pod.exists || caller >= facts.pods.size() || may(facts, caller, server, port, Way::kTunnel) ||
           may(facts, caller, server, port, Way::kPlain);
  });
  if (caller >= history_.now().pods.size())
    fail(fmt::format("pod {} accepts {}, which is no pod's address", server, peer.to_string()));
  else if (!allowed)
    fail(
        fmt::format("pod {} accepts a connection of pod {}, and no policy of the last moments allows that", server, caller));
}

void Watch::plain_seen(Tag tag, const sim::Wire& wire) {
  const auto sender = sendings_.find(tag);
  Flow* known = sender == sendings_.end() ? nullptr : flow(sender->second.flow);
  if (!known) return;
  if (wire.port == 15006)
    known->seen_plain = true;
  else if (wire.port == known->port)
    known->seen_direct = true;
  else
    fail(fmt::format("flow {} is on the wire to port {} as plain text", known->tag, wire.port));
  if (!known->redirected) return;
  // Both pods have been in the mesh all the time: only tunnels may be between them.
  const bool doubtful =
      history_.any(known->began - History::kGrace, world_.clock().monotonic(), [&](const MeshFacts& facts) {
        const auto& client = facts.pods[known->client];
        const auto& server = facts.pods[known->server];
        return !client.labelled || !server.labelled || !client.exists || !server.exists;
      });
  if (!doubtful) fail(fmt::format("flow {} of a pod in the mesh is plain text on the wire to another", known->tag));
}

void Watch::delivered(const Flow& flow, std::size_t from) {
  if (from != flow.client)
    return fail(fmt::format("flow {} arrives from pod {}, it was dialled by pod {}", flow.tag, from, flow.client));
  if (flow.seen_direct) return;  // the pod had no rules when this came
  const Way way = flow.seen_plain ? Way::kPlain : Way::kTunnel;
  const auto now = world_.clock().monotonic();
  const bool allowed = history_.any(now - History::kGrace, now, [&](const MeshFacts& facts) {
    return !facts.pods[flow.server].labelled || !facts.pods[flow.server].exists ||
           may(facts, flow.client, flow.server, flow.port, way);
  });
  if (!allowed)
    fail(fmt::format("flow {} is delivered ({}), and no policy of the last moments allows that", flow.tag,
                     way == Way::kPlain ? "plain" : "tunnel"));
}

void Receiver::take(const BufferChain& data) {
  std::string text = data.to_string();
  if (tag_ == 0) {
    head_ += text;
    if (head_.size() < kTagEnd) {
      received_ += text.size();
      return;
    }
    tag_ = tag_in(head_);
    received_ = 0;
    text = std::move(head_);
  }
  if (text != content(tag_, received_, text.size()))
    watch_.fail(fmt::format("stream {:x} is damaged after {} bytes", tag_, received_));
  received_ += text.size();
  if (received_ > watch_.sending(tag_).sent)
    watch_.fail(fmt::format("stream {:x}: {} bytes came and {} were sent", tag_, received_, watch_.sending(tag_).sent));
}

void Receiver::end() {
  if (tag_ == 0) return;
  const auto& sender = watch_.sending(tag_);
  const Flow* flow = watch_.flow(sender.flow);
  if (flow && flow->disturbed) return;
  if (!sender.finished)
    return watch_.fail(fmt::format("stream {:x} ended cleanly after {} bytes, its sender did not end it", tag_, received_));
  if (received_ != sender.sent)
    watch_.fail(fmt::format("stream {:x} ended cleanly after {} bytes of {}", tag_, received_, sender.sent));
}

}  // namespace weft::simulation
