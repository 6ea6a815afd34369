// The page /config_dump: everything this proxy knows, in upstream's shape, so that istioctl and scripts read it.
#pragma once

#include <optional>
#include <vector>

#include "certs/secret_manager.h"
#include "lib/model/snapshot_editor.h"
#include "ztunnel/build_info.h"
#include "ztunnel/pods.h"
#include "ztunnel/settings.h"

namespace weft::ztunnel::dump {

struct Contents {
  model::SnapshotPtr mesh;                  // never null
  Result<model::MeshObjects> local_config;  // an error is shown in `staticConfig`
  BuildInfo build;
  std::vector<certs::SecretManager::Entry> certificates;
  std::optional<std::vector<PodState>> pods;  // of shared mode
};

// Any thread may make it: everything in it is a value or immutable. The same contents give the same text.
std::string config_dump(const Settings& settings, const Contents& contents);

}  // namespace weft::ztunnel::dump
