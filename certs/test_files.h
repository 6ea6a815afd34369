// Files in memory, for tests: remembers permissions, reports changes at once.
#pragma once

#include <map>
#include <set>

#include "lib/io/files.h"

namespace weft::certs {

class TestFiles final : public io::Files {
 public:
  struct Content {
    std::string text;
    unsigned mode = 0644;
  };
  std::map<std::string, Content> tree;

  Result<std::string> read(const std::string& path, std::size_t size_max) override {
    auto found = tree.find(path);
    if (found == tree.end()) return fail(ErrorCode::kNotFound, path + ": No such file or directory");
    if (found->second.text.size() > size_max) return fail(ErrorCode::kLimit, path + " is too large");
    return found->second.text;
  }
  Result<std::vector<std::string>> list(const std::string& directory) override {
    std::vector<std::string> paths;
    for (const auto& [path, content] : tree) {
      if (path.starts_with(directory + "/")) paths.push_back(path);
    }
    return paths;
  }
  Result<void> write(const std::string& path, std::string_view content, unsigned mode) override {
    tree[path] = {std::string(content), mode};
    changed(path);
    return {};
  }
  Result<void> make_directory(const std::string&, unsigned) override { return {}; }
  Result<void> remove(const std::string& path) override {
    tree.erase(path);
    changed(path);
    return {};
  }
  Result<std::unique_ptr<Watch>> watch(const std::string& directory, Duration, std::function<void()> on_change) override {
    return std::make_unique<MemoryWatch>(*this, directory, std::move(on_change));
  }

 private:
  struct MemoryWatch final : Watch {
    MemoryWatch(TestFiles& owner, std::string directory, std::function<void()> action)
        : owner(owner), directory(std::move(directory)), action(std::move(action)) {
      owner.watches_.insert(this);
    }
    ~MemoryWatch() override { owner.watches_.erase(this); }
    void look_again(Duration) override {}  // a tree in memory can always be read
    TestFiles& owner;
    std::string directory;
    std::function<void()> action;
  };
  void changed(const std::string& path) {
    const std::set<MemoryWatch*> watches = watches_;
    for (MemoryWatch* watch : watches) {
      if (path.starts_with(watch->directory + "/")) watch->action();
    }
  }
  std::set<MemoryWatch*> watches_;
};

}  // namespace weft::certs
