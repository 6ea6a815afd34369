// The page /status: how this node proxy is, in a few hundred bytes and a line for each pod and certificate. For `weftctl
// status`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "certs/secret_manager.h"
#include "lib/model/snapshot.h"
#include "lib/sources/folder.h"
#include "ztunnel/build_info.h"
#include "ztunnel/pods.h"
#include "ztunnel/settings.h"

namespace weft::ztunnel::dump {

// What is wrong with so many files is shown, and of the rest that there is more: the log has all of it.
inline constexpr std::size_t kManifestProblemsShown = 50;

struct StatusContents {
  BuildInfo build;
  std::string engine;                    // of the workers, with the reason where it is not the ring
  model::SnapshotPtr mesh;               // never null
  sources::FolderStatePtr manifests;     // null when the mesh is not read from a folder
  sources::FolderCounters counters;      // of the folder
  std::vector<std::string> waiting_for;  // what keeps the process unready
  std::vector<certs::SecretManager::Entry> certificates;
  std::vector<PodState> pods;
  WallTime now{};
};

// JSON, described in docs/weftctl.md. The same contents give the same text.
std::string status(const Settings& settings, const StatusContents& contents);

}  // namespace weft::ztunnel::dump
