// An in-memory file tree with watches, for programs in the simulation.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "lib/io/files.h"

namespace weft::sim {

// The tree of one host; every process there sees it through its own MemoryFiles.
struct FileTree {
  struct File {
    std::string content;
    unsigned mode = 0644;
  };
  struct Watcher {
    std::string directory;
    std::function<void()> changed;
  };
  std::map<std::string, File> files;
  std::map<std::uint64_t, Watcher> watchers;
  std::uint64_t next_watcher = 0;
  bool full = false;  // writes fail as on a full disk

  // Puts or removes a file as an outside program would, and tells the watchers.
  void put(const std::string& path, std::string content, unsigned mode = 0644);
  void erase(const std::string& path);
  void touched(const std::string& path);
};

class MemoryFiles final : public io::Files {
 public:
  MemoryFiles(Loop& loop, std::shared_ptr<FileTree> tree) : loop_(loop), tree_(std::move(tree)) {}
  Result<std::string> read(const std::string& path, std::size_t size_max) override;
  Result<std::vector<std::string>> list(const std::string& directory) override;
  Result<void> write(const std::string& path, std::string_view content, unsigned mode) override;
  Result<void> make_directory(const std::string& path, unsigned mode) override;
  Result<void> remove(const std::string& path) override;
  Result<std::unique_ptr<Watch>> watch(const std::string& directory, Duration settle,
                                       std::function<void()> on_change) override;

 private:
  Loop& loop_;
  std::shared_ptr<FileTree> tree_;
};

}  // namespace weft::sim
