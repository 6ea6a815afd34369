// libFuzzer target: the record layer against a peer that holds the right keys and sends what it likes, and against bytes
// changed on the way. The input is a script: two bytes of settings, then operations of an opcode and its operands.
// Checks that what comes out is what the peer sent, in order, and that what we send is what the peer reads.
#include <array>
#include <cstdint>
#include <string>

#include "lib/base/check.h"
#include "lib/tls/records.h"

namespace {

using namespace weft;
using namespace weft::tls;

constexpr std::array<std::uint8_t, 32> kTheirs{1, 2, 3}, kOurs{9, 8, 7};
constexpr std::uint8_t kAlert = 21, kHandshake = 22, kData = 23;

RecordKeys keys(Suite suite, const std::array<std::uint8_t, 32>& secret, bool sealing) {
  auto made = RecordKeys::create(suite, secret, sealing);
  WEFT_CHECK(made.has_value());
  return std::move(*made);
}

class Script {
 public:
  Script(const std::uint8_t* data, std::size_t size)
      : rest_(reinterpret_cast<const char*>(data), size),
        suite_(byte() & 1 ? Suite::kAes256GcmSha384 : Suite::kAes128GcmSha256),
        step_(byte() * 16 + 1),
        peer_send_(keys(suite_, kTheirs, true)),
        peer_receive_(keys(suite_, kOurs, false)),
        layer_(keys(suite_, kTheirs, false), keys(suite_, kOurs, true)) {
    layer_.set_records_per_key(3);
  }

  void run() {
    // Bounded like a connection's life between two looks at the clock; the fuzzer's inputs are short anyway.
    for (int operations = 0; operations < 200 && !rest_.empty(); ++operations) {
      const auto code = byte();
      switch (code % 8) {
        case 0: seal(byte(), text(byte())); break;
        case 1: seal(kData, std::string(byte() * 65, 'd')); break;
        case 2: seal(kHandshake, text(byte())); break;
        case 3: update(byte() & 1); break;
        case 4: seal(kAlert, text(byte() % 4)); break;
        case 5: we_send(byte() * 80); break;
        case 6:
          forged_ = true;
          wire_.append(text(byte()));
          break;
        default: change(byte()); break;
      }
      if (code & 0x80) deliver();
    }
    deliver();
    if (!failed_ && !forged_) {
      WEFT_CHECK(held_.empty());
      WEFT_CHECK(layer_.ended() || received_ == sent_);
    }
    peer_reads();
  }

 private:
  std::size_t byte() {
    if (rest_.empty()) return 0;
    const auto value = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    return value;
  }
  std::string text(std::size_t size) {
    const std::string taken(rest_.substr(0, size));
    rest_.remove_prefix(taken.size());
    return taken;
  }

  void seal(std::size_t type, const std::string& content) {
    BufferChain plain{Buffer::copy_of(content)};
    WEFT_CHECK(peer_send_.seal(static_cast<RecordType>(type), plain, content.size(), wire_).has_value());
    // A type of 0 makes the content end in padding: the type is in front of that.
    std::string inner = content + static_cast<char>(type);
    inner.resize(inner.find_last_not_of('\0') + 1);
    if (inner.ends_with(static_cast<char>(kData))) sent_.append(inner, 0, inner.size() - 1);
  }
  void update(bool requested) {
    seal(kHandshake, std::string{24, 0, 0, 1, static_cast<char>(requested)});
    WEFT_CHECK(peer_send_.update().has_value());
  }
  void change(std::size_t at) {
    std::string bytes = wire_.to_string();
    if (bytes.empty()) return;
    forged_ = true;
    bytes[at % bytes.size()] = static_cast<char>(bytes[at % bytes.size()] ^ 1);
    wire_ = BufferChain(Buffer::copy_of(bytes));
  }
  void we_send(std::size_t size) {
    const std::string content(size, 'w');
    if (!layer_.encrypt(BufferChain(Buffer::copy_of(content)))) return;
    ours_ += content;
  }

  // In pieces, as a network would.
  void deliver() {
    while (!wire_.empty() && !failed_) {
      held_.append(wire_.split(step_));
      BufferChain out;
      failed_ = !layer_.decrypt(held_, out).has_value();
      received_ += out.to_string();
      WEFT_CHECK(sent_.starts_with(received_));
      WEFT_CHECK(held_.size() < 5 + 16 * 1024 + 256 + step_);
      if (layer_.ended()) WEFT_CHECK(held_.empty());
    }
    wire_.clear();
  }

  // Our side is well-formed whatever was received: whole records, data in order, key updates where they are due.
  void peer_reads() {
    const bool failed = failed_;
    layer_.close_notify();
    BufferChain& output = layer_.output();
    std::string read;
    int alerts = 0;
    while (!output.empty()) {
      std::array<std::byte, 5> header;
      WEFT_CHECK(output.peek(header) == header.size());
      const auto size = std::to_integer<std::size_t>(header[3]) << 8 | std::to_integer<std::size_t>(header[4]);
      WEFT_CHECK(output.size() >= header.size() + size && size <= 16 * 1024 + 17);
      std::string plain(size, '\0');
      auto opened = peer_receive_.open(output, size, reinterpret_cast<std::byte*>(plain.data()));
      WEFT_CHECK(opened.has_value());
      WEFT_CHECK(alerts == 0);
      if (opened->type == kData) read.append(plain, 0, opened->size);
      if (opened->type == kHandshake) {
        WEFT_CHECK(plain.substr(0, opened->size) == std::string({24, 0, 0, 1, 0}));
        WEFT_CHECK(peer_receive_.update().has_value());
      }
      if (opened->type == kAlert) ++alerts;
    }
    WEFT_CHECK(read == ours_);
    WEFT_CHECK(alerts == 1 || (alerts == 0 && failed));
  }

  std::string_view rest_;
  Suite suite_;
  std::size_t step_;
  RecordKeys peer_send_, peer_receive_;
  RecordLayer layer_;
  BufferChain wire_, held_;
  std::string sent_, received_, ours_;
  bool forged_ = false, failed_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Script(data, size).run();
  return 0;
}
