#include "lib/tls/records.h"

#include <catch2/catch_test_macros.hpp>

#include "lib/base/random.h"

using namespace weft;
using namespace weft::tls;

namespace {

const std::array<std::uint8_t, 32> kSecret{1, 2, 3}, kOther{9, 8, 7};

// A layer under test, and the peer's keys to make any record for it.
struct Rig {
  RecordKeys peer = *RecordKeys::create(Suite::kAes128GcmSha256, kSecret, true);
  RecordKeys peer_receive = *RecordKeys::create(Suite::kAes128GcmSha256, kOther, false);
  RecordLayer layer{*RecordKeys::create(Suite::kAes128GcmSha256, kSecret, false),
                    *RecordKeys::create(Suite::kAes128GcmSha256, kOther, true)};
  BufferChain wire, out;

  void add(std::uint8_t type, std::string content) {
    BufferChain plain{Buffer::copy_of(content)};
    REQUIRE(peer.seal(static_cast<RecordType>(type), plain, content.size(), wire).has_value());
  }
  Result<void> decrypt() { return layer.decrypt(wire, out); }
  // The alert the layer answered with; -1 for none.
  int alert() {
    BufferChain& output = layer.output();
    if (output.empty()) return -1;
    std::byte plain[64];
    auto opened = peer_receive.open(output, output.size() - 5, plain);
    REQUIRE(opened.has_value());
    CHECK(opened->type == 21);
    return static_cast<int>(plain[1]);
  }
};

constexpr std::uint8_t kAlert = 21, kHandshake = 22, kData = 23;
std::string text(std::initializer_list<int> bytes) {
  std::string made;
  for (const int byte : bytes) made += static_cast<char>(byte);
  return made;
}

}  // namespace

TEST_CASE("records of every size come back, cut anywhere") {
  for (const Suite suite : {Suite::kAes128GcmSha256, Suite::kAes256GcmSha384}) {
    auto seal = *RecordKeys::create(suite, kSecret, true);
    RecordLayer layer(*RecordKeys::create(suite, kSecret, false), *RecordKeys::create(suite, kOther, true));
    SeededRandom random(5);
    std::string sent, received;
    for (int i = 0; i < 400; ++i) {
      std::string data(random.below(random.below(2) ? 50 : 16'385), static_cast<char>('a' + i % 26));
      if (data.empty()) data = "x";
      sent += data;
      BufferChain plain{Buffer::copy_of(data)}, wire, held;
      REQUIRE(seal.seal(RecordType::kData, plain, data.size(), wire).has_value());
      while (!wire.empty()) {
        held.append(wire.split(1 + random.below(9'000)));
        BufferChain out;
        REQUIRE(layer.decrypt(held, out).has_value());
        received += out.to_string();
      }
      CHECK(held.empty());
    }
    CHECK(received == sent);
  }
}

TEST_CASE("a record that trickles in neither pins large blocks nor piles up crumbs") {
  Rig rig;
  rig.add(kData, std::string(16'000, 'z'));
  const std::string record = rig.wire.to_string();
  rig.wire.clear();
  BufferChain held;
  for (std::size_t at = 0; at + 1 < record.size(); ++at) {
    BufferWriter writer(64 * 1024);  // as a receive ring lends them
    writer.append(std::as_bytes(std::span(record).subspan(at, 1)));
    held.append(writer.take());
    REQUIRE(rig.layer.decrypt(held, rig.out).has_value());
    REQUIRE(held.slice_count() <= 33);
    REQUIRE(held.slice(held.slice_count() - 1).block_capacity() < 40'000);
  }
  CHECK(rig.out.empty());
  held.append(Buffer::copy_of(std::string_view(record).substr(record.size() - 1)));
  REQUIRE(rig.layer.decrypt(held, rig.out).has_value());
  CHECK(rig.out.size() == 16'000);
}

TEST_CASE("key updates are followed and answered, tickets passed over") {
  Rig rig;
  rig.add(kHandshake, text({4, 0, 0, 6, 1, 2}));  // a ticket in two pieces
  rig.add(kHandshake, text({3, 4, 5, 6, 4, 0, 0, 0}));
  rig.add(kData, "one");
  rig.add(kHandshake, text({24, 0, 0, 1, 1}));
  REQUIRE(rig.peer.update().has_value());
  rig.add(kData, "two");
  rig.add(kAlert, text({1, 0}));
  REQUIRE(rig.decrypt().has_value());
  CHECK(rig.out.to_string() == "onetwo");
  CHECK(rig.layer.ended());
  // Before our next data comes a key update of our own, and the data is under the new key.
  BufferChain& output = rig.layer.output();
  CHECK(output.empty());
  REQUIRE(rig.layer.encrypt(BufferChain(Buffer::literal("after"))).has_value());
  std::byte plain[64];
  auto answer = rig.peer_receive.open(output, 5 + 1 + 16, plain);
  REQUIRE(answer.has_value());
  CHECK(answer->type == kHandshake);
  REQUIRE(rig.peer_receive.update().has_value());
  auto after = rig.peer_receive.open(output, output.size() - 5, plain);
  REQUIRE(after.has_value());
  CHECK(std::string(reinterpret_cast<char*>(plain), after->size) == "after");
}

TEST_CASE("key updates are paid for with data, and many requests get one answer") {
  Rig rig;
  const auto update = [&] {
    rig.add(kHandshake, text({24, 0, 0, 1, 1}));
    REQUIRE(rig.peer.update().has_value());
    return rig.decrypt().has_value();
  };
  // A byte of data between them does not count as progress.
  int accepted = 0;
  while (accepted < 100 && update()) {
    ++accepted;
    rig.add(kData, "x");
  }
  CHECK(accepted == 32);
  CHECK(rig.alert() == 10);

  Rig honest;
  for (int i = 0; i < 100; ++i) {
    for (int k = 0; k < 2; ++k) honest.add(kData, std::string(16'384, 'd'));
    honest.add(kHandshake, text({24, 0, 0, 1, 1}));
    REQUIRE(honest.peer.update().has_value());
    REQUIRE(honest.decrypt().has_value());
  }
  CHECK(honest.layer.output().empty());
  REQUIRE(honest.layer.encrypt(BufferChain(Buffer::literal("x"))).has_value());
  CHECK(honest.layer.output().size() == (5 + 5 + 1 + 16) + (5 + 1 + 1 + 16));
}

TEST_CASE("a record full of tiny tickets is read once through") {
  Rig rig;
  std::string tickets;
  for (int i = 0; i < 4096; ++i) tickets += text({4, 0, 0, 0});
  for (int i = 0; i < 32; ++i) rig.add(kHandshake, tickets);
  rig.add(kData, "behind");
  REQUIRE(rig.decrypt().has_value());
  CHECK(rig.out.to_string() == "behind");
}

TEST_CASE("a peer that cancels is heard out to its close_notify, and nothing behind that") {
  Rig rig;
  rig.add(kData, "last");
  rig.add(kAlert, text({1, 90}));
  rig.add(kAlert, text({1, 0}));
  rig.add(kData, "too late");
  REQUIRE(rig.decrypt().has_value());
  CHECK(rig.layer.ended());
  rig.add(kData, "later still");
  REQUIRE(rig.decrypt().has_value());
  CHECK(rig.out.to_string() == "last");
  CHECK(rig.wire.empty());
  // Our direction stays open.
  CHECK(rig.layer.encrypt(BufferChain(Buffer::literal("x"))).has_value());
}

TEST_CASE("what a peer with keys must not send ends the connection with an alert") {
  struct Row {
    const char* what;
    std::vector<std::pair<std::uint8_t, std::string>> records;
    int alert;
  };
  const Row rows[] = {
      {"empty handshake record", {{kHandshake, ""}}, 10},
      {"certificate request", {{kHandshake, text({13, 0, 0, 1, 0})}}, 10},
      {"client hello", {{kHandshake, text({1, 0, 0, 0})}}, 10},
      {"key update of two bytes", {{kHandshake, text({24, 0, 0, 2, 0, 0})}}, 50},
      {"key update of unknown kind", {{kHandshake, text({24, 0, 0, 1, 2})}}, 50},
      {"data behind a key update", {{kHandshake, text({24, 0, 0, 1, 0, 4, 0, 0, 0})}}, 10},
      {"data inside a handshake message", {{kHandshake, text({4, 0, 0, 9})}, {kData, "x"}}, 10},
      {"an endless ticket",
       {{kHandshake, text({4, 255, 255, 255}) + std::string(16'000, 't')},
        {kHandshake, std::string(16'000, 't')},
        {kHandshake, std::string(16'000, 't')},
        {kHandshake, std::string(16'000, 't')},
        {kHandshake, std::string(16'000, 't')}},
       10},
      {"alert of one byte", {{kAlert, "x"}}, 10},
      {"unknown type", {{99, "x"}}, 10},
      {"change cipher spec inside", {{20, text({1})}}, 10},
      {"nothing but padding", {{0, ""}}, 10},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    Rig rig;
    for (const auto& [type, content] : row.records) rig.add(type, content);
    auto result = rig.decrypt();
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().code() == ErrorCode::kTls);
    CHECK(rig.alert() == row.alert);
    CHECK_FALSE(rig.layer.encrypt(BufferChain(Buffer::literal("x"))).has_value());
  }
}

TEST_CASE("empty records are tolerated only so often") {
  Rig rig;
  for (int i = 0; i < 40; ++i) rig.add(kData, i % 20 == 0 ? "x" : "");
  CHECK(rig.decrypt().has_value());
  for (int i = 0; i < 33; ++i) rig.add(kData, "");
  CHECK_FALSE(rig.decrypt().has_value());
}

TEST_CASE("a fatal alert is reported by name") {
  Rig rig;
  rig.add(kAlert, text({2, 42}));
  auto result = rig.decrypt();
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().message() == "tls error: received fatal alert: bad certificate");
  CHECK(rig.alert() == -1);
}

TEST_CASE("changed, repeated, reordered, unprotected and oversized records are refused") {
  SeededRandom random(9);
  for (int round = 0; round < 3000; ++round) {
    Rig rig;
    rig.add(kData, "first");
    rig.add(kData, std::string(1 + random.below(300), 'b'));
    std::string wire = rig.wire.to_string();
    const std::size_t at = random.below(wire.size());
    wire[at] = static_cast<char>(wire[at] ^ (1 << random.below(8)));
    rig.wire = BufferChain(Buffer::copy_of(wire));
    auto result = rig.decrypt();
    // A changed length may only leave the layer waiting for more; changed bytes never become data.
    const std::string plain = rig.out.to_string();
    CHECK((plain.empty() || plain == "first"));
    if (result.has_value()) CHECK_FALSE(rig.wire.empty());
  }
  Rig repeated;
  repeated.add(kData, "once");
  const std::string record = repeated.wire.to_string();
  repeated.wire.append(Buffer::copy_of(record));
  CHECK_FALSE(repeated.decrypt().has_value());
  CHECK(repeated.out.to_string() == "once");
  for (const std::string& header : {text({23, 3, 3, 65, 1}), text({23, 3, 3, 0, 16}), text({22, 3, 3, 0, 40}),
                                    text({20, 3, 3, 0, 1}), std::string("GET /")}) {
    Rig rig;
    rig.wire.append(Buffer::copy_of(header + std::string(100, 'x')));
    CHECK_FALSE(rig.decrypt().has_value());
  }
}
