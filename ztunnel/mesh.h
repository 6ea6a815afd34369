// What the mesh is, from where the settings say: a watched folder of manifests, a local configuration file or text;
// published as snapshots to the workers.
//
// Control thread; mesh() may be watched from any.
#pragma once

#include <functional>
#include <memory>

#include "lib/async/event.h"
#include "lib/async/published.h"
#include "lib/async/task.h"
#include "lib/explain/facts.h"
#include "lib/io/files.h"
#include "lib/model/snapshot_editor.h"
#include "lib/sources/folder.h"
#include "lib/telemetry/metrics.h"
#include "ztunnel/settings.h"

namespace weft::ztunnel {

// The local configuration that LOCAL_XDS_PATH or LOCAL_XDS names, empty when both are; an error says which line.
Result<model::MeshObjects> read_local_config(io::Files& files, const std::string& path, const std::string& text);

using LocalConfigPtr = std::shared_ptr<const model::MeshObjects>;

class Mesh {
 public:
  // `on_snapshot` runs for every new snapshot, before the workers hear of it. References outlive the object.
  Mesh(Loop& loop, io::Files& files, const Settings& settings, telemetry::Registry& registry,
       std::function<void(const model::Snapshot&)> on_snapshot);

  // Reads everything once; an error ends the start. A folder is watched from then on.
  Result<void> start();

  // Returns when every file of the folder could be read, if only once each: before, the snapshot lacks objects, and whoever
  // served by it would let through what a policy in a broken file refuses. kCancelled when stopped first.
  Task<Result<void>> complete(StopToken stop);

  // What the local configuration says now, empty when there is none. Read anew, and parsed anew if it has changed, which
  // takes a second for 10,000 workloads. For the dump.
  Result<LocalConfigPtr> local_config();

  // The folder's latest state and its counters; null when the mesh is not read from one.
  sources::FolderStatePtr manifests() const { return folder_ ? folder_->state() : nullptr; }
  sources::FolderCounters counters() const { return folder_ ? folder_->counters() : sources::FolderCounters{}; }
  // What is in force now, for explanations.
  explain::Facts facts() const;

  Published<model::Snapshot>& published() { return published_; }

 private:
  void commit();

  io::Files& files_;
  const Settings& settings_;
  std::function<void(const model::Snapshot&)> on_snapshot_;
  model::SnapshotEditor editor_;
  Published<model::Snapshot> published_;
  Event complete_;
  std::unique_ptr<sources::FolderSource> folder_;
  std::string local_text_;  // what local_objects_ was made of
  LocalConfigPtr local_objects_ = std::make_shared<const model::MeshObjects>();
};

}  // namespace weft::ztunnel
