// libFuzzer target: the local configuration file, and the settings an operator writes as YAML. What was read becomes a
// snapshot and is asked about a connection.
#include "lib/manifest/local_config.h"

#include <cstdint>
#include <string_view>

#include "lib/base/check.h"
#include "lib/model/authorize.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weft;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto mesh = manifest::parse_local_config(text);
  if (!mesh) {
    WEFT_CHECK(mesh.error().code() == ErrorCode::kInvalidArgument);
    WEFT_CHECK(!mesh.error().message().empty());
    return 0;
  }
  model::SnapshotEditor editor;
  editor.replace("file", *mesh);
  const auto snapshot = editor.commit();
  const auto again = manifest::parse_local_config(text);
  WEFT_CHECK(again.has_value());
  editor.replace("file", *again);
  WEFT_CHECK(editor.commit() == snapshot);
  model::ConnectionFacts facts;
  facts.source_ip = IpAddress::parse("10.0.0.1").value();
  facts.destination = {IpAddress::parse("10.0.0.9").value(), 8080};
  facts.peer = model::Identity{"cluster.local", "shop", "frontend"};
  for (const auto& workload : mesh->workloads) (void)model::authorize(*snapshot, workload, facts);
  return 0;
}
