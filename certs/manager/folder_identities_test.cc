#include "certs/manager/folder_identities.h"

#include <catch2/catch_test_macros.hpp>

#include "certs/test_files.h"

using namespace weft;
using namespace weft::certs;
using namespace weft::certs::manager;

namespace {
std::string pod(const std::string& name, const std::string& account, const std::string& node, const std::string& phase) {
  return "apiVersion: v1\nkind: Pod\nmetadata:\n  name: " + name + "\n  namespace: shop\nspec:\n  nodeName: " + node +
         "\n  serviceAccountName: " + account + "\nstatus:\n  phase: " + phase + "\n---\n";
}
model::Identity identity(const std::string& account) { return {"cluster.local", "shop", account}; }
}  // namespace

TEST_CASE("identities follow the pods of the manifests, node by node") {
  TestFiles files;
  FolderIdentities identities(files, "/state");
  files.tree["/state/pods.yaml"].text = pod("a", "cart", "node-a", "Running") + pod("b", "users", "node-b", "Pending") +
                                        pod("c", "job", "node-a", "Succeeded") +
                                        "apiVersion: v1\nkind: Node\nmetadata:\n  name: node-c\n";
  files.tree["/state/notes.txt"].text = "kind: Pod";
  REQUIRE(identities.reload().has_value());
  CHECK(identities.runs_on("node-a", identity("cart")));
  CHECK_FALSE(identities.runs_on("node-b", identity("cart")));
  CHECK(identities.runs_on("node-b", identity("users")));
  CHECK_FALSE(identities.runs_on("node-a", identity("job")));
  CHECK_FALSE(identities.runs_on("node-x", identity("cart")));
  CHECK(identities.nodes() == std::set<std::string>{"node-a", "node-b", "node-c"});

  files.tree["/state/pods.yaml"].text = "{ broken: [";
  files.tree["/state/more.yaml"].text = pod("d", "orders", "node-a", "Running");
  REQUIRE(identities.reload().has_value());
  CHECK(identities.broken_files() == 1);
  CHECK(identities.runs_on("node-a", identity("cart")));
  CHECK(identities.runs_on("node-a", identity("orders")));

  files.tree["/state/pods.yaml"].text = pod("b", "users", "node-a", "Running");
  files.tree.erase("/state/more.yaml");
  REQUIRE(identities.reload().has_value());
  CHECK(identities.broken_files() == 0);
  CHECK_FALSE(identities.runs_on("node-a", identity("cart")));
  CHECK(identities.runs_on("node-a", identity("users")));
  CHECK_FALSE(identities.runs_on("node-a", identity("orders")));
}

TEST_CASE("a pod that two files describe is where the last of them says, or nowhere") {
  TestFiles files;
  FolderIdentities identities(files, "/state");
  files.tree["/state/a.yaml"].text = pod("a", "cart", "node-a", "Running") + pod("b", "users", "node-a", "Running");
  files.tree["/state/b.yaml"].text = pod("a", "cart", "node-b", "Running");
  REQUIRE(identities.reload().has_value());
  CHECK(identities.runs_on("node-b", identity("cart")));
  CHECK_FALSE(identities.runs_on("node-a", identity("cart")));
  CHECK(identities.runs_on("node-a", identity("users")));

  files.tree["/state/b.yaml"].text = pod("a", "cart", "node-b", "Failed") + pod("b", "orders", "node-a", "Running");
  REQUIRE(identities.reload().has_value());
  CHECK_FALSE(identities.runs_on("node-b", identity("cart")));
  CHECK_FALSE(identities.runs_on("node-a", identity("cart")));
  CHECK_FALSE(identities.runs_on("node-a", identity("users")));
  CHECK(identities.runs_on("node-a", identity("orders")));
  CHECK(identities.nodes() == std::set<std::string>{"node-a"});

  files.tree.erase("/state/b.yaml");
  REQUIRE(identities.reload().has_value());
  CHECK(identities.runs_on("node-a", identity("cart")));
  CHECK(identities.runs_on("node-a", identity("users")));
}
