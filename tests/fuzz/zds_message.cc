// libFuzzer target: arbitrary bytes as each message of the pod handover. What can be read can be written and read again.
#include "lib/base/check.h"
#include "lib/zds/messages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weft;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto request = zds::decode_request(bytes)) {
    const auto again = zds::encode(*request);
    // A message of the largest size may have been written more tightly than ours.
    if (again) WEFT_CHECK(zds::decode_request(*again).has_value());
  }
  if (const auto ack = zds::decode_ack(bytes)) {
    const auto again = zds::decode_ack(zds::encode(*ack));
    WEFT_CHECK(again.has_value());
    WEFT_CHECK(again->error.empty() == ack->error.empty());
  }
  (void)zds::decode_hello(bytes);
  return 0;
}
