#include "lib/sources/read.h"

#include <catch2/catch_test_macros.hpp>

#include "lib/async/manual_loop.h"
#include "tests/support/sim/files.h"

using namespace weft;
using namespace weft::sources;

namespace {

struct Rig {
  ManualLoop loop;
  std::shared_ptr<sim::FileTree> tree = std::make_shared<sim::FileTree>();
  sim::MemoryFiles files{loop, tree};

  Manifests read(const std::vector<std::string>& paths) { return read_manifests(files, paths, {}); }
};

std::string names(const Manifests& manifests) {
  std::string out;
  for (const auto& object : manifests.objects) out += (out.empty() ? "" : " ") + object->meta.name;
  return out;
}

std::string service(const std::string& name) { return "{apiVersion: v1, kind: Service, metadata: {name: " + name + "}}\n"; }

}  // namespace

TEST_CASE("folders and files are read in the order given, each file once") {
  Rig rig;
  rig.tree->put("/m/b.yaml", service("b"));
  rig.tree->put("/m/a.yml", service("a") + "---\n" + service("a2"));
  rig.tree->put("/m/notes.txt", "not for us");
  rig.tree->put("/x.json", R"({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}})");
  const auto read = rig.read({"/x.json", "/m", "/m/b.yaml"});
  CHECK(names(read) == "x a a2 b");
  CHECK(read.files == 3);
  CHECK(read.problems.empty());
}

TEST_CASE("a broken file gives one problem and nothing else; the others are read") {
  Rig rig;
  rig.tree->put("/m/a.yaml", service("a"));
  rig.tree->put("/m/b.yaml", service("b") + "---\n{broken");
  const auto read = rig.read({"/m", "/absent"});
  CHECK(names(read) == "a");
  CHECK(read.unreadable == 2);
  REQUIRE(read.problems.size() == 2);
  CHECK(read.problems[0].file == "/m/b.yaml");
  CHECK(read.problems[0].problem.reason == "Unreadable");
  CHECK(read.problems[1].file == "/absent");
}

TEST_CASE("a document that is no object and a file that is no manifest are named and skipped") {
  Rig rig;
  rig.tree->put("/m/a.yaml", "just words\n---\n" + service("a"));
  rig.tree->put("/install.sh", "#!/bin/sh\n");
  const auto read = rig.read({"/m", "/install.sh"});
  CHECK(names(read) == "a");
  CHECK(read.unreadable == 0);
  REQUIRE(read.problems.size() == 2);
  CHECK(read.problems[0].problem.reason == "NotAnObject");
  CHECK(read.problems[1].problem.reason == "NotAnObject");
}
