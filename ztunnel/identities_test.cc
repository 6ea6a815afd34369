// Which certificates a node asks for, and until when.
#include "ztunnel/identities.h"

#include <catch2/catch_test_macros.hpp>

#include "ztunnel/test_mesh.h"

using namespace weft;
using namespace weft::ztunnel;

namespace {

struct Rig : MeshWorld {
  bool held(const Node& node, const std::string& account) {
    for (const auto& entry : node.secrets.entries())
      if (entry.secret->identity().service_account == account) return true;
    return false;
  }
  static Task<void> late(Identities& identities, Loop& here) {
    auto secret = co_await identities.secret(here, identity_of("front"));
    CHECK(secret != nullptr);
  }
  std::size_t asked_for(const std::string& account) {
    return static_cast<std::size_t>(std::count(source.asked.begin(), source.asked.end(), account));
  }
};

}  // namespace

TEST_CASE("a node asks for the certificates of its own pods that take tunnels, for each identity once") {
  Rig mesh;
  CHECK(mesh.asked_for("front") == 1);
  CHECK(mesh.asked_for("cart") == 1);
  CHECK(mesh.held(mesh.a, "front"));
  CHECK_FALSE(mesh.held(mesh.a, "cart"));
  mesh.describe("twin", {ip("10.0.0.4")}, "node-a")->service_account = "front";
  mesh.describe("plain", {ip("10.0.0.5")}, "node-a")->protocol = model::TunnelProtocol::kNone;
  mesh.describe("far", {ip("10.0.0.6")}, "node-z");
  auto* native = mesh.describe("native", {ip("10.0.0.7")}, "node-a");
  native->protocol = model::TunnelProtocol::kNone;
  native->native_tunnel = true;
  mesh.publish();
  CHECK(mesh.asked_for("front") == 1);
  CHECK(mesh.asked_for("plain") == 0);
  CHECK(mesh.asked_for("far") == 0);
  CHECK(mesh.asked_for("native") == 1);
}

TEST_CASE("a certificate is kept until the last pod of the node that has its identity is gone") {
  Rig mesh;
  mesh.describe("twin", {ip("10.0.0.4")}, "node-a")->service_account = "front";
  mesh.describe("far", {ip("10.0.0.6")}, "node-z")->service_account = "front";
  mesh.publish();
  auto& workloads = mesh.objects.workloads;
  workloads.pop_back();  // far: another node's removals concern nobody here
  mesh.publish();
  CHECK(mesh.held(mesh.a, "front"));
  workloads.pop_back();  // twin
  mesh.publish();
  CHECK(mesh.held(mesh.a, "front"));
  workloads.erase(workloads.begin());
  mesh.publish();
  CHECK_FALSE(mesh.held(mesh.a, "front"));
  CHECK(mesh.held(mesh.b, "cart"));
}

TEST_CASE("a certificate that a connection asks for when its pod has just gone is forgotten with the next change") {
  Rig mesh;
  mesh.objects.workloads.erase(mesh.objects.workloads.begin());  // front
  mesh.publish();
  CHECK_FALSE(mesh.held(mesh.a, "front"));
  mesh.world.run(Rig::late(mesh.a.identities, mesh.apps));
  CHECK(mesh.held(mesh.a, "front"));
  mesh.describe("far", {ip("10.0.0.6")}, "node-z");
  mesh.publish();
  CHECK_FALSE(mesh.held(mesh.a, "front"));
}

TEST_CASE("without a name of its node a proxy asks for nothing beforehand") {
  Rig mesh;
  const auto snapshot = mesh.editor.last();
  CHECK(local_identities(*snapshot, "").empty());
  CHECK(local_identities(*snapshot, "node-a") == std::set{identity_of("front")});
}
