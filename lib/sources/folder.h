// Mesh state from a folder of Kubernetes manifests: read, watched, translated.
//
// Every *.yaml, *.yml and *.json file below the folder counts; the objects of all files together are the state. Of an object
// written several times the one in the last file (by path) counts. A file is applied whole or not at all: one that cannot be
// read or parsed, or is blank (nothing but white space) since, keeps its last good objects, and every other file is applied
// as usual. Objects are removed with their file, or by a text without them. Likewise a mesh configuration whose text cannot
// be read, and a Namespace object that is gone while other objects stand in the namespace: what it said last stays in force.
// What could not be read because the process had no descriptor or memory left is read again every kReadAgain until it was,
// and so is a folder that cannot be listed. All changes found at once become one update.
//
// A process that starts anew has no last good state of a file that is broken just then, and must not act as if the policies
// in it did not exist: see complete().
//
// Control thread only. `files` outlives the source; destroying the source ends the watch.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/io/files.h"
#include "lib/manifest/parse.h"
#include "lib/model/snapshot_editor.h"
#include "lib/sources/read.h"
#include "lib/translate/translate.h"

namespace weft::sources {

// Soon enough for a policy that came in a bad moment, seldom enough for the log.
inline constexpr Duration kReadAgain = std::chrono::seconds(1);

struct FolderSettings {
  std::string directory;
  // How long the folder must be quiet before it is read again (io::Files::settled_at): long enough for a tool that writes
  // several files, short enough to be noticed at once.
  Duration settle = std::chrono::milliseconds(50);
  translate::Options translate;
  manifest::ParseOptions parse;
};

// One consistent state of the folder; does not change once handed out.
struct FolderState {
  std::vector<manifest::ObjectPtr> objects;  // of all files, by path, then in the order written
  translate::Output output;
  std::vector<FileProblem> problems;  // of files; those of objects are in output.statuses

  // The part that snapshots are made of: `editor.replace("folder", state.mesh())`.
  model::MeshObjects mesh() const { return {output.workloads, output.services, output.policies}; }
};
using FolderStatePtr = std::shared_ptr<const FolderState>;

struct FolderCounters {
  std::uint64_t updates = 0;      // states handed out
  std::uint64_t errors = 0;       // times a file, the folder or the mesh configuration could not be read or parsed
  std::uint64_t files = 0;        // files present now
  std::uint64_t unreadable = 0;   // of those, files whose last good state, if any, is kept
  std::uint64_t not_objects = 0;  // documents now present that are no Kubernetes objects
};

class FolderSource {
 public:
  using OnUpdate = std::function<void(const FolderStatePtr&)>;

  // `on_update` runs for every new state, the first time inside start().
  FolderSource(io::Files& files, FolderSettings settings, OnUpdate on_update);
  FolderSource(const FolderSource&) = delete;
  FolderSource& operator=(const FolderSource&) = delete;

  // Reads the folder and begins to watch it. Fails when the folder cannot be listed or watched; a broken file is no failure.
  Result<void> start();

  // The latest state; null before start().
  const FolderStatePtr& state() const { return state_; }
  const FolderCounters& counters() const { return counters_; }

  // True once everything present could be read, if only once each; it then stays true. Until then the state lacks what is in
  // unknown(). In on_update it says how the new state is.
  bool complete() const { return complete_; }
  // The files that are present and could never be read, and the mesh configuration if that is so of it.
  std::vector<std::string> unknown() const;

  // Reads what changed, as the watch does. Nothing happens when nothing changed.
  Result<void> refresh();

 private:
  struct File {
    std::size_t fingerprint = 0;  // of the text last seen
    std::size_t size = 0;
    std::vector<manifest::ObjectPtr> objects;  // of the last text that could be read
    std::vector<FileProblem> problems;
    std::string read_error;  // the system's, so that it is logged once
    bool known = false;      // it could be read at least once
  };
  // True when the file's part of the state changed.
  bool read_file(const std::string& path, File& file, bool& vanished);
  void on_list_error(const Error& error);
  void on_read_error(const Error& error);
  bool apply(const std::string& path, std::string_view text, File& file);
  void publish(const std::vector<std::string>& changed);

  io::Files& files_;
  const FolderSettings settings_;
  OnUpdate on_update_;
  std::unique_ptr<io::Files::Watch> watch_;
  std::map<std::string, File> by_path_;
  FolderStatePtr state_;
  FolderCounters counters_;
  std::string list_error_;  // of the last listing, so that it is logged once; empty when that went well
  bool complete_ = false;
};

}  // namespace weft::sources
