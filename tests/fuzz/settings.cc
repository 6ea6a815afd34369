// libFuzzer target: what an operator writes into environment variables and configuration maps. The first byte chooses the
// reader.
#include <cstdint>
#include <string_view>

#include "lib/base/check.h"
#include "lib/linux/limits.h"
#include "lib/translate/enrolment.h"
#include "ztunnel/proxy_config.h"
#include "ztunnel/setting_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weft;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 5) {
    case 0: {
      auto config = ztunnel::parse_proxy_config(text);
      if (!config) break;
      const auto before = config->metadata;
      config->merge(*config);
      WEFT_CHECK(config->metadata == before);
      break;
    }
    case 1: (void)ztunnel::parse_mesh_config(text); break;
    case 2:
      if (const auto duration = ztunnel::parse_duration(text)) WEFT_CHECK(*duration >= Duration::zero());
      break;
    case 3: (void)translate::parse_enablement(text); break;
    default: WEFT_CHECK(linux::parse_cpu_max(text) >= 0); break;
  }
  return 0;
}
