#include "ztunnel/dump/config_dump.h"

#include "ztunnel/dump/certificates.h"
#include "ztunnel/dump/config.h"
#include "ztunnel/dump/objects.h"
#include "ztunnel/dump/pods.h"

namespace weft::ztunnel::dump {
namespace {

Json describe(const BuildInfo& build) {
  return {{"version", build.version},
          {"gitRevision", build.git_revision},
          {"rustVersion", build.rust_version},
          {"buildProfile", build.build_profile},
          {"buildStatus", build.build_status},
          {"istioVersion", build.istio_version},
          {"cryptoProvider", build.crypto_provider}};
}

// The file may have been broken since it was read.
Task<void> write_static_config(Writer& out, const Result<LocalConfigPtr>& local) {
  const model::MeshObjects none;
  out.begin("staticConfig", '{');
  co_await write_objects(out, local ? **local : none);
  if (!local) out.member("error", local.error().message());
  out.end();
}

}  // namespace

Task<std::string> config_dump(Loop& loop, const Settings& settings, Contents contents) {
  Writer out(loop);
  out.begin('{');
  co_await write_mesh(out, *contents.mesh);
  co_await write_static_config(out, contents.local_config);
  out.member("version", describe(contents.build));
  out.member("config", dump::describe(settings));
  co_await write_certificates(out, contents.certificates);
  if (contents.pods) co_await write_pods(out, *contents.pods);
  out.end();
  co_return out.take() + "\n";
}

}  // namespace weft::ztunnel::dump
