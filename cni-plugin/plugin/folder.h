// The cluster's state from a folder of manifests, read once: every *.yaml, *.yml and *.json below it, by path.
//
// The node agent keeps watching the same folder (lib/sources); this process lives for one pod only. Blocking.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.h"
#include "lib/manifest/object.h"

namespace weft::cni::plugin {

// A file whose objects are unknown.
struct UnreadableFile {
  std::string why;   // "FILE: reason"
  std::string text;  // as far as it could be read at all

  // False when it cannot be about that object, because it does not contain its name.
  bool may_concern(std::string_view name) const { return text.empty() || text.find(name) != std::string::npos; }
};

struct FolderContents {
  std::vector<manifest::ObjectPtr> objects;  // of all readable files
  std::vector<UnreadableFile> unreadable;
};

// Fails when the folder cannot be listed.
Result<FolderContents> read_folder(const std::string& directory);

}  // namespace weft::cni::plugin
