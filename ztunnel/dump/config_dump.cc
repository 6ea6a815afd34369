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
Json static_config(const Result<model::MeshObjects>& local) {
  Json json = dump::describe(local ? *local : model::MeshObjects{});
  if (!local) json["error"] = local.error().message();
  return json;
}

}  // namespace

std::string config_dump(const Settings& settings, const Contents& contents) {
  Json json = Json::object();
  add_mesh(json, *contents.mesh);
  json["staticConfig"] = static_config(contents.local_config);
  json["version"] = describe(contents.build);
  json["config"] = dump::describe(settings);
  json["certificates"] = dump::describe(contents.certificates);
  if (contents.pods) json["workloadState"] = dump::describe(*contents.pods);
  return to_text(json) + "\n";
}

}  // namespace weft::ztunnel::dump
