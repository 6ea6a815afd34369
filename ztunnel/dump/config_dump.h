// The page /config_dump: everything this proxy knows, in upstream's shape, so that istioctl and scripts read it.
#pragma once

#include <optional>
#include <vector>

#include "certs/secret_manager.h"
#include "lib/model/snapshot_editor.h"
#include "ztunnel/build_info.h"
#include "ztunnel/mesh.h"
#include "ztunnel/pods.h"
#include "ztunnel/settings.h"

namespace weft::ztunnel::dump {

struct Contents {
  model::SnapshotPtr mesh;              // never null
  Result<LocalConfigPtr> local_config;  // never null; an error is shown in `staticConfig`
  BuildInfo build;
  std::vector<certs::SecretManager::Entry> certificates;
  std::optional<std::vector<PodState>> pods;  // of shared mode
};

// The same contents give the same text. Written in slices of Writer::kSliceBytes, between which `loop` runs what else there
// is: everything in `contents` is a value or immutable. `settings` outlives the task.
Task<std::string> config_dump(Loop& loop, const Settings& settings, Contents contents);

}  // namespace weft::ztunnel::dump
