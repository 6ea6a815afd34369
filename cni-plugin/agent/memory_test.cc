#include "cni-plugin/agent/memory.h"

#include <catch2/catch_test_macros.hpp>

#include "lib/async/manual_loop.h"
#include "tests/support/sim/files.h"

using namespace weft;
using namespace weft::cni::agent;

namespace {

struct Fixture {
  ManualLoop loop;
  std::shared_ptr<sim::FileTree> tree = std::make_shared<sim::FileTree>();
  sim::MemoryFiles files{loop, tree};
  Memory memory{files, "/run/enrolled.json"};

  // What an agent that starts now would find.
  std::map<std::string, NetnsId> saved() {
    Memory next(files, "/run/enrolled.json");
    REQUIRE(next.load());
    return next.pods();
  }
};

}  // namespace

TEST_CASE("what is remembered is found by the next agent, what is forgotten is not") {
  Fixture f;
  REQUIRE(f.memory.load());
  CHECK(f.memory.remember("a", {4, 1}));
  CHECK(f.memory.remember("b", {4, 2}));
  CHECK(f.memory.remember("b", {4, 3}));
  CHECK(f.memory.forget("a"));
  CHECK(f.saved() == std::map<std::string, NetnsId>{{"b", {4, 3}}});
  CHECK(f.memory.namespace_of("b") == NetnsId{4, 3});
}

TEST_CASE("a namespace is remembered of one pod, the last") {
  Fixture f;
  CHECK(f.memory.remember("a", {4, 1}));
  CHECK(f.memory.remember("b", {4, 2}));
  CHECK(f.memory.remember("b", {4, 1}));
  CHECK(f.saved() == std::map<std::string, NetnsId>{{"b", {4, 1}}});
}

TEST_CASE("a pod that could not be written down is not taken for remembered at the next attempt") {
  Fixture f;
  CHECK(f.memory.remember("a", {4, 1}));
  f.tree->full = true;
  CHECK_FALSE(f.memory.remember("b", {4, 2}));
  CHECK_FALSE(f.memory.remember("b", {4, 2}));
  CHECK_FALSE(f.memory.remember("a", {4, 9}));
  CHECK_FALSE(f.memory.remember("a", {4, 9}));
  SECTION("one that is in the file is, whatever happens to others") {
    CHECK_FALSE(f.memory.forget("b"));
    CHECK_FALSE(f.memory.remember("c", {4, 3}));
    f.tree->full = false;
    CHECK(f.memory.remember("a", {4, 9}));
    f.tree->full = true;
    CHECK(f.memory.remember("a", {4, 9}));
    CHECK(f.memory.remember("c", {4, 3}));
    CHECK(f.saved() == std::map<std::string, NetnsId>{{"a", {4, 9}}, {"c", {4, 3}}});
  }
  SECTION("once it can be written it is in the file") {
    f.tree->full = false;
    CHECK(f.memory.remember("b", {4, 2}));
    CHECK(f.saved() == std::map<std::string, NetnsId>{{"a", {4, 9}}, {"b", {4, 2}}});
  }
}

TEST_CASE("a memory that cannot be read is an error and counts as empty") {
  Fixture f;
  for (const auto* text : {"{", "[]", R"({"a": 1})", R"({"a": {"device": -1, "inode": 2}})"}) {
    INFO(text);
    f.tree->put("/run/enrolled.json", text);
    CHECK_FALSE(f.memory.load());
    CHECK(f.memory.pods().empty());
  }
}
