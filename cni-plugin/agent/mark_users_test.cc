#include "cni-plugin/agent/mark_users.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <filesystem>

#include "tests/support/temporary_folder.h"

using namespace weft;
using namespace weft::cni::agent;
using weft::cni::redirect::MarkedSocket;

namespace {

constexpr const char* kUid = "11111111-2222-3333-4444-555555555555";
constexpr const char* kOtherUid = "99999999-2222-3333-4444-555555555555";

SocketAddress at(const char* text) { return SocketAddress::parse(text).value(); }

NetnsId id_of(const std::string& path) {
  struct stat info{};
  REQUIRE(::stat(path.c_str(), &info) == 0);
  return {info.st_dev, info.st_ino};
}

// A /proc whose processes and namespaces are made up.
struct Proc {
  Proc() {
    folder.file("node", "");
    pod = id_of(folder.file("pod", ""));
  }
  void process(int pid, const std::string& netns, const std::string& program, const std::vector<std::string>& links,
               const std::string& cgroup = "0::/user.slice") {
    const auto at = std::to_string(pid);
    folder.file(at + "/comm", program + "\n");
    folder.file(at + "/cgroup", cgroup + "\n");
    for (const auto* name : {"/ns", "/fd"}) std::filesystem::create_directory(folder.path(at + name));
    std::filesystem::create_symlink(folder.path(netns), folder.path(at + "/ns/net"));
    int number = 0;
    for (const auto& link : links)
      std::filesystem::create_symlink(link, folder.path(at + "/fd/" + std::to_string(number++)));
  }
  std::string users(std::vector<pid_t> pids, std::vector<MarkedSocket> sockets) const {
    const auto found = mark_users({kUid, pod, std::move(pids)}, sockets, {.proc = folder.path(), .directories = {}});
    return found ? to_string(*found) : found.error().message();
  }

  const weft::testing::TemporaryFolder folder;
  NetnsId pod;
};

}  // namespace

TEST_CASE("a pod's process with a marked socket is named with where it leads, one without or without the mark is not") {
  Proc proc;
  proc.process(7, "pod", "curl", {"/dev/null", "socket:[100]", "pipe:[101]", "socket:[102]", "socket:[103]"});
  proc.process(8, "pod", "nginx", {"socket:[200]", "anon_inode:[eventpoll]"});
  CHECK(proc.users({7, 8}, {{102, at("10.0.0.1:80")}}) == "curl (pid 7), 1 connection, one to 10.0.0.1:80");
  CHECK(proc.users({7, 8}, {{102, at("10.0.0.1:80")}, {103, at("10.0.0.1:80")}, {200, at("[fd00::1]:443")}}) ==
        "curl (pid 7), 2 connections, one to 10.0.0.1:80; nginx (pid 8), 1 connection, one to [fd00::1]:443");
  CHECK(proc.users({7, 8}, {{101, at("10.0.0.1:80")}, {1, at("10.0.0.1:80")}, {10, at("10.0.0.1:80")}}).empty());
  CHECK(proc.users({7, 8}, {}).empty());
}

TEST_CASE(
    "the proxy's sockets are nobody's but the proxy's, whatever namespace they are in and however many proxies there are") {
  Proc proc;
  proc.process(7, "node", "ztunnel", {"socket:[100]"});
  proc.process(8, "node", "ztunnel", {"socket:[101]"});
  // Its number was that of a process of the pod, or it was inside for a moment: its cgroup tells.
  proc.process(9, "pod", "ztunnel", {"socket:[102]"}, std::string("0::/kubepods/pod") + kOtherUid + "/abc");
  const std::vector<MarkedSocket> sockets{{100, at("10.0.0.1:80")}, {101, at("10.0.0.1:80")}, {102, at("10.0.0.1:80")}};
  CHECK(proc.users({7, 8, 9}, sockets).empty());
  proc.process(10, "pod", "sh", {"socket:[102]"});
  CHECK(proc.users({7, 8, 9, 10}, sockets) == "sh (pid 10), 1 connection, one to 10.0.0.1:80");  // the control
}

TEST_CASE("a process of the pod that made itself another namespace is known by its cgroup") {
  Proc proc;
  proc.process(7, "node", "sh", {"socket:[100]"}, std::string("0::/kubepods/pod") + kUid + "/abc");
  CHECK(proc.users({7}, {{100, at("10.0.0.1:80")}}) == "sh (pid 7), 1 connection, one to 10.0.0.1:80");
}

TEST_CASE("processes that ended or look odd harm nobody, and no control character is taken over") {
  Proc proc;
  proc.process(7, "pod", "a\x1b[31m\nb\"", {"socket:[100]"});
  proc.process(8, "gone", "x", {"socket:[100]"});
  proc.process(9, "pod", "y", {"socket:[]", "socket:[100", "socket:[100]x", "socket:[99999999999]", "socket:100"});
  std::filesystem::create_directory(proc.folder.path("10"));
  CHECK(proc.users({6, 8, 9, 10, 7}, {{100, at("10.0.0.1:80")}}) == "a?[31m?b\" (pid 7), 1 connection, one to 10.0.0.1:80");
  for (int pid = 20; pid < 30; ++pid) proc.process(pid, "pod", "p", {"socket:[100]"});
  CHECK(proc.users({20, 21, 22, 23, 24}, {{100, at("10.0.0.1:80")}})
            .ends_with("p (pid 22), 1 connection, one to 10.0.0.1:80; and 2 more"));
}

TEST_CASE("a look at a pod reads a bounded number of descriptors, and knows a bounded number of processes") {
  Proc proc;
  proc.process(7, "pod", "many", std::vector<std::string>(100, "/dev/null"));
  std::vector<pid_t> same(kPodDescriptorsMax / 100 + 1, 7);
  proc.process(8, "pod", "late", {"socket:[100]"});
  same.push_back(8);
  CHECK(proc.users(same, {{100, at("10.0.0.1:80")}}).empty());
  same.erase(same.begin(), same.begin() + 2);
  CHECK(proc.users(same, {{100, at("10.0.0.1:80")}}).starts_with("late"));

  NetnsScan scan;
  for (pid_t pid = 1; pid <= static_cast<pid_t>(kPodProcessesMax) + 5; ++pid) scan.processes.push_back({pid, proc.pod, ""});
  CHECK(processes_of(scan, kUid, proc.pod).pids.size() == kPodProcessesMax);
}

TEST_CASE("a pod's processes are those in its namespace and those in its cgroup") {
  NetnsScan scan;
  const NetnsId mine{4, 1}, other{4, 2};
  scan.processes = {{10, mine, ""}, {11, other, ""}, {12, other, kUid}, {13, mine, kOtherUid}, {14, other, kOtherUid}};
  CHECK(processes_of(scan, kUid, mine).pids == std::vector<pid_t>{10, 12, 13});
}

TEST_CASE("this very process is found by a socket of its own") {
  const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  struct stat info{};
  REQUIRE(::fstat(socket.get(), &info) == 0);
  const auto inode = static_cast<std::uint32_t>(info.st_ino);
  const PodProcesses self{kUid, id_of("/proc/self/ns/net"), {::getpid()}};
  const auto found = mark_users(self, {{inode, at("10.0.0.1:80")}}, {});
  REQUIRE(found);
  REQUIRE(found->size() == 1);
  CHECK(found->front().pid == ::getpid());
  CHECK(found->front().program == "agent_test");
  CHECK(mark_users({kUid, {0, 0}, {::getpid()}}, {{inode, at("10.0.0.1:80")}}, {}).value().empty());
}
