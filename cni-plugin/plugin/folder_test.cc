#include "cni-plugin/plugin/folder.h"

#include <catch2/catch_test_macros.hpp>
#include <filesystem>

#include "tests/support/temporary_folder.h"

using namespace weft;
using namespace weft::cni::plugin;

namespace {

std::string pod(const std::string& name) { return "{apiVersion: v1, kind: Pod, metadata: {name: " + name + "}}\n"; }

}  // namespace

TEST_CASE("manifests below a folder are read by path, through links") {
  const testing::TemporaryFolder folder, other;
  folder.file("b.yaml", pod("b"));
  folder.file("a/deep/a.yml", pod("a"));
  folder.file("notes.txt", pod("n"));
  other.file("c.json", R"({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "c"}})");
  std::filesystem::create_symlink(other.path(), folder.path("link"));
  std::filesystem::create_symlink("gone.yaml", folder.path("dangling.yaml"));
  const auto contents = read_folder(folder.path());
  REQUIRE(contents);
  CHECK(contents->unreadable.empty());
  REQUIRE(contents->objects.size() == 3);
  CHECK(contents->objects[0]->meta.name == "a");
  CHECK(contents->objects[1]->meta.name == "b");
  CHECK(contents->objects[2]->meta.name == "c");
  CHECK_FALSE(read_folder(folder.path("none")));
}

TEST_CASE("what cannot be looked at is no manifest that is gone") {
  const testing::TemporaryFolder folder;
  folder.file("a.yaml", pod("a"));
  // Links that lead to themselves stand for all that stat(2) fails at.
  std::filesystem::create_symlink("b.yaml", folder.path("b.yaml"));
  const auto contents = read_folder(folder.path());
  REQUIRE(contents);
  CHECK(contents->objects.size() == 1);
  REQUIRE(contents->unreadable.size() == 1);
  CHECK(contents->unreadable[0].may_concern("anybody"));
  std::filesystem::create_symlink("folder", folder.path("folder"));
  CHECK_FALSE(read_folder(folder.path()));
}
