// Which pods have, or may have, our rules: remembered in a file of the run folder, for the agent that starts after this one.
//
// A pod is written down before its first rule and struck out after the last one is gone, so that one whose label was removed
// while no agent ran is still released. The file is on tmpfs like the namespaces it speaks of: both end with the machine.
// Thread: the loop's.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "cni-plugin/agent/netns.h"
#include "lib/io/files.h"

namespace weft::cni::agent {

class Memory {
 public:
  Memory(io::Files& files, std::string path) : files_(files), path_(std::move(path)) {}

  // Reads the file; none is an empty one. A file that cannot be read is an error, and counts as empty.
  Result<void> load();

  bool contains(const std::string& uid) const { return pods_.contains(uid); }
  std::optional<NetnsId> namespace_of(const std::string& uid) const;
  const std::map<std::string, NetnsId>& pods() const { return pods_; }

  // Each writes the file if it has to. After an error the change holds in memory alone, until another is written.
  // A namespace is one pod's: remember() strikes out another that had it. Success of remember() means that this pod is in
  // the file: where it could not be written, the next call tries again.
  Result<void> remember(const std::string& uid, const NetnsId& netns);
  Result<void> forget(const std::string& uid);

 private:
  Result<void> save();

  io::Files& files_;
  const std::string path_;
  std::map<std::string, NetnsId> pods_;  // by UID
  std::set<std::string> unsaved_;        // of those, the ones that the file does not have, or not so
};

}  // namespace weft::cni::agent
