#include "cni-plugin/agent/netns.h"

#include <catch2/catch_test_macros.hpp>

using namespace weft;
using namespace weft::cni::agent;

namespace {

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

NetnsCandidate candidate(ino_t inode, std::vector<IpAddress> addresses, std::set<std::string> uids = {}) {
  return {{4, inode}, "/run/netns/n" + std::to_string(inode), std::move(addresses), std::move(uids)};
}

// With a process in each, that says of itself what the candidate does.
NetnsScan inhabited(std::vector<NetnsCandidate> found) {
  NetnsScan scan;
  for (const auto& candidate : found) {
    scan.processes.push_back({static_cast<pid_t>(candidate.id.inode), candidate.id, ""});
    scan.pod_uids.insert(candidate.pod_uids.begin(), candidate.pod_uids.end());
  }
  scan.found = std::move(found);
  return scan;
}

PodInfo pod(std::vector<IpAddress> ips) {
  PodInfo info;
  info.uid = "uid-1";
  info.name = "front";
  info.namespace_name = "shop";
  info.ips = std::move(ips);
  return info;
}

}  // namespace

TEST_CASE("a pod's namespace is the one that holds one of its addresses") {
  const auto scan =
      inhabited({candidate(1, {ip("10.0.0.1"), ip("fd00::1")}), candidate(2, {ip("10.0.0.2")}), candidate(3, {})});
  CHECK(match_netns(scan, pod({ip("10.0.0.2")}), {}, {}).value()->id.inode == 2);
  CHECK(match_netns(scan, pod({ip("10.9.9.9"), ip("fd00::1")}), {}, {}).value()->id.inode == 1);
  CHECK(match_netns(scan, pod({ip("10.0.0.3")}), {}, {}).error().code() == ErrorCode::kNotFound);
  CHECK(match_netns(scan, pod({}), {}, {}).error().code() == ErrorCode::kNotFound);
  CHECK(scan.find({4, 3}) == &scan.found[2]);
  CHECK_FALSE(scan.find({4, 9}));
  CHECK_FALSE(scan.find({5, 3}));
}

TEST_CASE("of several namespaces with the address none is taken unless something tells") {
  auto scan = inhabited(
      {candidate(1, {ip("10.0.0.1")}, {"another"}), candidate(2, {ip("10.0.0.1")}), candidate(3, {ip("10.0.0.1")})});
  auto wanted = pod({ip("10.0.0.1")});
  CHECK(match_netns(scan, wanted, {}, {}).error().code() == ErrorCode::kDenied);
  CHECK(match_netns(scan, wanted, NetnsId{4, 9}, {}).error().code() == ErrorCode::kDenied);

  SECTION("it was that one before") { CHECK(match_netns(scan, wanted, NetnsId{4, 3}, {}).value()->id.inode == 3); }
  SECTION("a process of the pod is in one") {
    scan.found[1].pod_uids = {"uid-1"};
    CHECK(match_netns(scan, wanted, {}, {}).value()->id.inode == 2);
    scan.found[2].pod_uids = {"uid-1"};
    CHECK(match_netns(scan, wanted, {}, {}).error().code() == ErrorCode::kDenied);
  }
  SECTION("the object names one of them") {
    wanted.netns_hint = "/run/netns/n1";
    CHECK(match_netns(scan, wanted, {}, {}).value()->id.inode == 1);
  }
  SECTION("the object names one that does not hold the address") {
    scan.found.push_back(candidate(4, {ip("10.0.0.4")}));
    wanted.netns_hint = "/run/netns/n4";
    CHECK(match_netns(scan, wanted, {}, {}).error().code() == ErrorCode::kDenied);
  }
}

TEST_CASE("a namespace with processes of another pod of the node, and none of the pod's own, is not the pod's") {
  auto scan = inhabited({candidate(1, {ip("10.0.0.1")}, {"uid-2"})});
  const auto wanted = pod({ip("10.0.0.1")});
  const std::set<std::string> known{"uid-1", "uid-2"};
  CHECK(match_netns(scan, wanted, {}, known).error().code() == ErrorCode::kDenied);
  CHECK(match_netns(scan, wanted, NetnsId{4, 1}, known).error().code() == ErrorCode::kDenied);
  SECTION("nobody knows that pod: the cgroup of a static pod, or of whom runs the node, names none") {
    CHECK(match_netns(scan, wanted, {}, {"uid-1"}).value()->id.inode == 1);
  }
  SECTION("the other one is a guest") {
    scan.found[0].pod_uids.insert("uid-1");
    CHECK(match_netns(scan, wanted, {}, known).value()->id.inode == 1);
  }
  SECTION("it is a static pod, and processes are called as the kubelet calls it") {
    auto mirrored = wanted;
    mirrored.static_uid = "uid-2";
    CHECK(match_netns(scan, mirrored, {}, known).value()->id.inode == 1);
  }
  SECTION("the pod has one of its own beside it") {
    scan.found.push_back(candidate(2, {ip("10.0.0.1")}, {"uid-1"}));
    CHECK(match_netns(scan, wanted, {}, known).value()->id.inode == 2);
  }
}

TEST_CASE("an address alone makes no namespace a pod's") {
  const std::set<std::string> known{"uid-1", "uid-2"};
  const auto mine = candidate(1, {ip("10.0.0.1")}), beside = candidate(2, {ip("10.0.0.2")}, {"uid-2"});
  auto wanted = pod({ip("10.0.0.1")});
  NetnsScan scan;
  scan.found = {mine, beside};
  const auto sign = [&](std::optional<NetnsId> remembered = {}) {
    return sign_of(scan, scan.found[0], wanted, remembered, known);
  };
  CHECK(sign() == Sign::kNone);
  CHECK(sign(NetnsId{4, 2}) == Sign::kNone);
  CHECK(match_netns(scan, wanted, {}, known).error().code() == ErrorCode::kDenied);
  SECTION("a process that nobody knows is in it, and no pod's can be told") {
    scan.processes = {{7, {4, 1}, ""}};
    CHECK(sign() == Sign::kInhabited);
    SECTION("but another pod's can") {
      scan.pod_uids = {"uid-2"};
      CHECK(sign() == Sign::kNone);
      CHECK(match_netns(scan, wanted, {}, known).error().code() == ErrorCode::kDenied);
    }
    SECTION("though it names a pod that is none of the node's") {
      scan.pod_uids = {"uid-9"};
      CHECK(sign() == Sign::kInhabited);
    }
  }
  SECTION("a process is elsewhere") {
    scan.processes = {{7, {4, 2}, ""}};
    CHECK(sign() == Sign::kNone);
  }
  SECTION("it was the pod's") {
    CHECK(sign(NetnsId{4, 1}) == Sign::kRemembered);
    CHECK(match_netns(scan, wanted, NetnsId{4, 1}, known));
  }
  SECTION("the object names it") {
    wanted.netns_hint = "/run/netns/n1";
    CHECK(sign() == Sign::kNamed);
    CHECK(match_netns(scan, wanted, {}, known));
    scan.found[0].pod_uids = {"uid-2"};
    CHECK(sign() == Sign::kAnothers);
  }
  SECTION("a process of the pod is in it") {
    scan.found[0].pod_uids = {"uid-1", "uid-2"};
    CHECK(sign() == Sign::kOwn);
  }
}

TEST_CASE("the pod of a process is read from its cgroup") {
  const std::string uid = "2b7c4e1a-9d3f-4c5b-8a6e-0f1d2c3b4a59";
  const std::vector<std::string> named{
      "0::/kubepods/burstable/pod" + uid + "/3f2a1b", "12:cpu:/other\n11:pids:/kubepods/besteffort/pod" + uid + "/3f2a1b\n",
      "0::/kubepods.slice/kubepods-burstable.slice/"
      "kubepods-burstable-pod2b7c4e1a_9d3f_4c5b_8a6e_0f1d2c3b4a59.slice/cri-containerd-3f2a1b.scope",
      "0::/../pod2b7c4e1a9d3f4c5b8a6e0f1d2c3b4a59/x"};
  for (const auto& text : named) {
    INFO(text);
    CHECK(pod_uid_of_cgroup(text) == uid);
  }
  for (const auto* text :
       {"", "0::/", "0::/kubepods/crio-3f2a1b", "0::/kubepods/pod123/x", "0::/user.slice",
        "0::/pod2b7c4e1a-9d3f-4c5b-8a6e-0f1d2c3b4a591/x", "0::/xpod2b7c4e1a-9d3f-4c5b-8a6e-0f1d2c3b4a59/x",
        "0::/pod2b7c4e1a-9d3f\n-4c5b-8a6e-0f1d2c3b4a59"}) {
    INFO(text);
    CHECK_FALSE(pod_uid_of_cgroup(text).has_value());
  }
}
