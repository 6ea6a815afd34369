// libFuzzer target: what arrives at the agent's socket for the CNI plugin: a pod to enrol, lines to log.
#include "cni-plugin/agent/plugin_event.h"

#include <cstdint>
#include <string_view>

#include "lib/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weft;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto event = cni::agent::parse_add_event(text)) {
    WEFT_CHECK(!event->netns.empty() && !event->pod_name.empty() && !event->pod_namespace.empty());
  }
  std::size_t dropped = 0;
  const auto lines = cni::agent::parse_log_lines(text, dropped);
  if (lines) WEFT_CHECK(lines->size() + dropped <= text.size());
  return 0;
}
