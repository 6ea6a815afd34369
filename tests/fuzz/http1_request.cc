// libFuzzer target: arbitrary bytes as HTTP/1.1 messages. Checks that bounds hold and that it does not matter how the bytes
// are cut.
#include <algorithm>
#include <cstdint>

#include "lib/admin/message_parser.h"
#include "lib/base/check.h"

namespace {

using namespace weft;
using admin::MessageKind;
using admin::MessageParser;

constexpr admin::MessageLimits kLimits{512, 256};

// Feeds one message in pieces of `step`; returns how many bytes belonged to it.
std::size_t feed(MessageParser& parser, std::string_view bytes, std::size_t step) {
  std::size_t taken = 0;
  while (taken < bytes.size()) {
    const auto part = bytes.substr(taken, step);
    const auto count = parser.feed(part);
    taken += count;
    if (count < part.size()) break;
  }
  return taken;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const auto kind = data[0] & 1 ? MessageKind::kResponse : MessageKind::kRequest;
  const std::size_t step = std::size_t{data[1]} + 1;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  // One after the other, as on a kept connection.
  for (;;) {
    MessageParser whole(kind, kLimits), cut(kind, kLimits);
    if (data[0] & 2) {
      whole.expect_no_body();
      cut.expect_no_body();
    }
    const auto taken = feed(whole, bytes, bytes.size());
    const auto taken_cut = feed(cut, bytes, step);
    WEFT_CHECK(whole.state() == cut.state());
    WEFT_CHECK(whole.failure_status() == cut.failure_status());
    WEFT_CHECK(whole.head().target == cut.head().target);
    WEFT_CHECK(whole.head().fields == cut.head().fields);
    WEFT_CHECK(whole.body().size() <= kLimits.body_max);
    if (whole.state() == MessageParser::State::kFailed) return 0;
    WEFT_CHECK(taken == taken_cut && whole.body() == cut.body());
    if (whole.state() != MessageParser::State::kDone) break;
    bytes.remove_prefix(taken);
    if (bytes.empty()) break;
  }
  return 0;
}
