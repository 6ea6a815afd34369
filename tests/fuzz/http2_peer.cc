// libFuzzer target: arbitrary bytes as a peer's HTTP/2, after a valid preface for servers. Checks that credit adds up.
#include "lib/async/manual_loop.h"
#include "lib/base/check.h"
#include "lib/http2/session.h"

namespace {

using namespace weft;

// Gives every byte's credit back at once, and answers each request.
class Peer final : public http2::SessionEvents {
 public:
  explicit Peer(http2::Role role) : role_(role), session(role, {}, *this) {}
  void on_headers(std::int32_t stream, http2::Headers, bool, bool trailers) override {
    if (role_ == http2::Role::kClient || trailers) return;
    (void)session.respond(stream, {{":status", "200"}}, true);
    session.send(stream, BufferChain(Buffer::literal("answer")), true);
  }
  void on_data(std::int32_t stream, Buffer data) override { session.consume(stream, data.size()); }
  void on_end_stream(std::int32_t) override {}
  void on_closed(std::int32_t, std::uint32_t) override {}
  void on_goaway() override {}
  void on_ping_ack() override {}
  void on_sent(std::int32_t, std::size_t) override {}

 private:
  http2::Role role_;

 public:
  http2::Session session;
};

void feed(http2::Role role, std::string_view bytes, std::size_t step) {
  Peer peer(role);
  if (role == http2::Role::kClient) (void)peer.session.request({{":method", "CONNECT"}, {":authority", "a:1"}}, true);
  BufferChain out;
  bool alive = true;
  if (role == http2::Role::kServer) {
    static constexpr char kPreface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    alive = peer.session.receive(Buffer::literal({kPreface, sizeof kPreface - 1}), MonotonicTime{}).has_value();
  }
  while (alive && !bytes.empty()) {
    const auto count = std::min(step, bytes.size());
    alive = peer.session.receive(Buffer::copy_of(bytes.substr(0, count)), MonotonicTime{}).has_value();
    bytes.remove_prefix(count);
    while (peer.session.produce(out)) out.clear();
  }
  WEFT_CHECK(peer.session.unconsumed() == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  feed(data[0] & 1 ? http2::Role::kClient : http2::Role::kServer, bytes, std::size_t{data[1]} + 1);
  return 0;
}
