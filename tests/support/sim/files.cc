#include "tests/support/sim/files.h"

#include "tests/support/sim/world.h"

namespace weft::sim {
namespace {

bool below(const std::string& path, const std::string& directory) {
  return path.starts_with(directory) && (directory.ends_with('/') || path.size() > directory.size()) &&
         (directory.ends_with('/') || path[directory.size()] == '/');
}

bool hidden(const std::string& path, const std::string& directory) {
  return path.find("/.", directory.size() - (directory.ends_with('/') ? 1 : 0)) != std::string::npos;
}

class MemoryWatch final : public io::Files::Watch {
 public:
  MemoryWatch(Loop& loop, std::shared_ptr<FileTree> tree, const std::string& directory, Duration settle,
              std::function<void()> on_change)
      : loop_(loop), tree_(std::move(tree)), id_(tree_->next_watcher++), timer_(on_change), again_(std::move(on_change)) {
    tree_->watchers[id_] = {directory, [this, settle] { changed(settle); }};
  }
  ~MemoryWatch() override { tree_->watchers.erase(id_); }
  void look_again(Duration after) override {
    if (!again_.armed() && !killed(loop_)) loop_.arm(again_, loop_.now() + after);
  }

 private:
  void changed(Duration settle) {
    if (killed(loop_)) return;
    const auto now = loop_.now();
    if (!timer_.armed()) first_change_ = now;
    loop_.arm(timer_, io::Files::settled_at(first_change_, now, settle));
  }

  Loop& loop_;
  std::shared_ptr<FileTree> tree_;
  std::uint64_t id_;
  Timer timer_, again_;
  MonotonicTime first_change_{};
};

}  // namespace

void FileTree::touched(const std::string& path) {
  for (auto& [id, watcher] : watchers) {
    if (below(path, watcher.directory)) watcher.changed();
  }
}

void FileTree::put(const std::string& path, std::string content, unsigned mode) {
  files[path] = {std::move(content), mode};
  touched(path);
}

void FileTree::erase(const std::string& path) {
  files.erase(path);
  touched(path);
}

Result<std::string> MemoryFiles::read(const std::string& path, std::size_t size_max) {
  const auto found = tree_->files.find(path);
  if (found == tree_->files.end()) return fail(ErrorCode::kNotFound, "open " + path + ": no such file");
  if (found->second.content.size() > size_max) return fail(ErrorCode::kLimit, path + ": too large");
  return found->second.content;
}

Result<std::vector<std::string>> MemoryFiles::list(const std::string& directory) {
  std::vector<std::string> paths;
  for (const auto& [path, file] : tree_->files) {
    if (below(path, directory) && !hidden(path, directory)) paths.push_back(path);
  }
  return paths;
}

Result<void> MemoryFiles::write(const std::string& path, std::string_view content, unsigned mode) {
  if (killed(loop_)) return fail(ErrorCode::kCancelled, "write " + path + ": the process was killed");
  if (tree_->full) return fail(ErrorCode::kLimit, "write " + path + ": no space left on device");
  tree_->put(path, std::string(content), mode);
  return {};
}

Result<void> MemoryFiles::make_directory(const std::string&, unsigned) { return {}; }

Result<void> MemoryFiles::remove(const std::string& path) {
  if (killed(loop_)) return fail(ErrorCode::kCancelled, "remove " + path + ": the process was killed");
  if (!tree_->files.contains(path)) return fail(ErrorCode::kNotFound, "remove " + path + ": no such file");
  tree_->erase(path);
  return {};
}

Result<std::unique_ptr<io::Files::Watch>> MemoryFiles::watch(const std::string& directory, Duration settle,
                                                             std::function<void()> on_change) {
  return std::make_unique<MemoryWatch>(loop_, tree_, directory, settle, std::move(on_change));
}

}  // namespace weft::sim
