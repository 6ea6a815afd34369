// Small files of the control plane: read whole, watch for changes.
//
// Control thread only (lib/asio); in the simulation an in-memory tree. Never used on a worker.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lib/async/loop.h"
#include "lib/base/result.h"

namespace weft::io {

class Files {
 public:
  virtual ~Files() = default;

  // The whole file. kLimit above `size_max` bytes; kNotFound, kPermission from the system.
  virtual Result<std::string> read(const std::string& path, std::size_t size_max) = 0;
  // Paths of regular files (symbolic links followed) below `directory`, sub-folders included up to 4 levels, sorted; names
  // that begin with a dot are skipped, and so is what is gone again, links to nothing included. A sub-folder that is there
  // and cannot be listed is an error, and so is what cannot be looked at, for it may be a folder: its files never look
  // removed. What cannot be looked at and has a manifest's name (*.yaml, *.yml, *.json) is listed instead: reading it says
  // why. kLimit above 100,000 entries.
  virtual Result<std::vector<std::string>> list(const std::string& directory) = 0;
  // Writes atomically: temporary file in the same folder, permissions `mode`, fsync, rename.
  virtual Result<void> write(const std::string& path, std::string_view content, unsigned mode) = 0;
  // Creates the folder and missing parents with `mode`; an existing one is fine.
  virtual Result<void> make_directory(const std::string& path, unsigned mode) = 0;
  virtual Result<void> remove(const std::string& path) = 0;

  // Calls `on_change` on the loop some time after anything in `directory` (or a sub-folder) was created, written, renamed or
  // removed; several changes may be one call (see settled_at()). Ends when the handle is destroyed. Renamed-over
  // files and symbolic-link swaps as Kubernetes makes them are noticed. Fails when the folder cannot be watched; what cannot
  // be watched later, the folder itself if it is gone included, makes calls every second until it can.
  class Watch {
   public:
    virtual ~Watch() = default;
    // Calls `on_change` once more after that time, whether or not anything changes: what could not be read then may be now.
    virtual void look_again(Duration after) = 0;
  };
  virtual Result<std::unique_ptr<Watch>> watch(const std::string& directory, Duration settle,
                                               std::function<void()> on_change) = 0;
  // A change is told of once nothing changed for `settle`; a writer that never pauses keeps it back no longer than this.
  static constexpr Duration kSettleMax = std::chrono::seconds(1);
  // When the changes that began at `first` are told of, with another one `now`.
  static MonotonicTime settled_at(MonotonicTime first, MonotonicTime now, Duration settle) {
    return std::min(now + settle, first + std::max(settle, kSettleMax));
  }
};

}  // namespace weft::io
