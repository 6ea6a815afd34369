// libFuzzer target: a file of Kubernetes objects, through everything that acts on it: parsed, translated, merged into a
// snapshot, asked about a connection. The first byte chooses YAML or JSON. Checks that the same text means the same, and
// that every object has a status.
#include <cstdint>
#include <string_view>

#include "lib/base/check.h"
#include "lib/manifest/parse.h"
#include "lib/model/authorize.h"
#include "lib/model/snapshot_editor.h"
#include "lib/translate/translate.h"

namespace {

using namespace weft;

void ask(const model::Snapshot& snapshot, const model::Workload& workload) {
  model::ConnectionFacts facts;
  facts.source_ip = IpAddress::parse("10.0.0.1").value();
  facts.destination = {IpAddress::parse("10.0.0.9").value(), 8080};
  for (const bool known : {false, true}) {
    if (known) facts.peer = model::Identity{"cluster.local", "shop", "frontend"};
    (void)model::authorize(snapshot, workload, facts);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const char* const name = data[0] & 1 ? "mesh.json" : "mesh.yaml";
  const auto parsed = manifest::parse(text, name);
  for (const auto& object : parsed.objects) WEFT_CHECK(object != nullptr);
  translate::Options options;
  options.http_in_deny = data[0] & 2 ? translate::Options::HttpInDeny::kDeny : translate::Options::HttpInDeny::kLeaveOut;
  options.send_dry_run = data[0] & 4;
  const auto output = translate::translate(parsed.objects, options);
  WEFT_CHECK(output.statuses.size() == parsed.objects.size());

  const auto again = translate::translate(manifest::parse(text, name).objects, options);
  model::SnapshotEditor editor;
  editor.replace("file", {output.workloads, output.services, output.policies});
  const auto snapshot = editor.commit();
  editor.replace("file", {again.workloads, again.services, again.policies});
  WEFT_CHECK(editor.commit() == snapshot);
  for (const auto& workload : output.workloads) ask(*snapshot, workload);
  return 0;
}
