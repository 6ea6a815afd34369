#include "lib/zds/messages.h"

#include <catch2/catch_test_macros.hpp>

using namespace weft;
using namespace weft::zds;

namespace {

const Pod kPod{"uid-1", "front-1", "shop", "front"};

}  // namespace

TEST_CASE("messages have the bytes that upstream's have") {
  CHECK(encode(Hello{}) == std::string("\x08\x01", 2));
  CHECK(encode(Ack{}) == std::string("\x0a\x00", 2));
  CHECK(encode(Ack{"no"}) == std::string("\x0a\x04\x0a\x02no", 6));
  CHECK(encode(SnapshotSent{}).value() == std::string("\x1a\x00", 2));
  CHECK(encode(Keep{"u"}).value() == std::string("\x2a\x03\x0a\x01u", 5));
  CHECK(encode(Del{"u"}).value() == std::string("\x12\x03\x12\x01u", 5));  // the UID of a Del is field 2
  CHECK(encode(Add{{"u", "n", "s", "a"}}).value() == std::string("\x0a\x0e\x0a\x01u\x12\x09\x0a\x01n\x12\x01s\x1a\x01"
                                                                 "a",
                                                                 16));
}

TEST_CASE("what was written is read back") {
  const auto add = decode_request(encode(Add{kPod}).value());
  REQUIRE(add);
  CHECK(std::get<Add>(*add).pod == kPod);
  CHECK(std::get<Add>(*add).has_info);
  const auto bare = decode_request(encode(Add{kPod, false}).value());
  REQUIRE(bare);
  CHECK_FALSE(std::get<Add>(*bare).has_info);
  CHECK(std::get<Keep>(decode_request(encode(Keep{"k"}).value()).value()).uid == "k");
  CHECK(std::get<Del>(decode_request(encode(Del{"d"}).value()).value()).uid == "d");
  CHECK(std::holds_alternative<SnapshotSent>(decode_request(encode(SnapshotSent{}).value()).value()));
  CHECK(decode_ack(encode(Ack{"bad luck"})).value().error == "bad luck");
  CHECK(decode_ack(encode(Ack{})).value().error.empty());
  CHECK(decode_hello(encode(Hello{})).value().version == 1);
}

TEST_CASE("a message that its reader could not take is not made") {
  Pod long_one = kPod;
  long_one.name = std::string(kMessageMax, 'x');
  const auto refused = encode(Add{long_one});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == ErrorCode::kLimit);
  for (auto field : {&Pod::uid, &Pod::name, &Pod::namespace_name, &Pod::service_account}) {
    Pod pod = kPod;
    pod.*field = "caf\xC3\xA9";
    CHECK(encode(Add{pod}));
    pod.*field = "caf\xE9";
    const auto unreadable = encode(Add{pod});
    REQUIRE_FALSE(unreadable);
    CHECK(unreadable.error().code() == ErrorCode::kInvalidArgument);
  }
  CHECK_FALSE(encode(Keep{"\xFF"}));
  CHECK_FALSE(encode(Del{"\xFF"}));
}

TEST_CASE("an error text is cut where it stops being short or UTF-8, and stays an error") {
  const auto cut = encode(Ack{std::string(5000, 'e')});
  CHECK(cut.size() <= kMessageMax);
  CHECK(decode_ack(cut).value().error.size() > 1000);
  std::string text(kMessageMax - 17, 'e');
  text += "\xC3\xA9";  // would end one byte late
  CHECK(decode_ack(encode(Ack{text})).value().error == std::string(kMessageMax - 17, 'e'));
  CHECK(decode_ack(encode(Ack{"bad \xFF byte"})).value().error == "bad ");
  CHECK(decode_ack(encode(Ack{"surrogate \xED\xA0\x80"})).value().error == "surrogate ");
  CHECK_FALSE(decode_ack(encode(Ack{"\xFF"})).value().error.empty());
}

TEST_CASE("bytes that are no message are errors") {
  const auto whole = encode(Add{kPod}).value();
  for (std::size_t size = 0; size < whole.size(); ++size) CHECK_FALSE(decode_request(whole.substr(0, size)));
  CHECK_FALSE(decode_request(std::string(kMessageMax + 1, '\0')));
  CHECK_FALSE(decode_request(std::string("\x22\x00", 2)));  // a field that was given up
  CHECK_FALSE(decode_request(std::string("\x0a\x00", 2)));  // Add without a UID
  CHECK_FALSE(decode_request(std::string("\x12\x00", 2)));  // Del without a UID
  CHECK_FALSE(decode_request("\x2a\x03\x0a\x01\xFF"));      // a UID that is no UTF-8
  CHECK_FALSE(decode_ack(""));
  CHECK_FALSE(decode_ack("GET / HTTP/1.1"));
  CHECK_FALSE(decode_hello("\x08"));
}
