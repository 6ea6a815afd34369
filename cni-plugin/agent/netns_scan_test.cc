// Namespaces of this machine, found and opened.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "cni-plugin/agent/netns.h"
#include "tests/support/temporary_folder.h"

using namespace weft;
using namespace weft::cni::agent;

namespace {

[[maybe_unused]] const bool kIsRoot = [] {
  if (::geteuid() == 0) return true;
  std::fputs("skipped: makes network namespaces, which needs root\n", stderr);
  std::_Exit(77);  // what Meson calls skipped
}();

// A process in a network namespace of its own that holds an address.
class Inhabitant {
 public:
  Inhabitant() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    child_ = ::fork();
    if (child_ == 0) {
      const bool done = ::unshare(CLONE_NEWNET) == 0 && std::system("ip address add 198.18.77.1/32 dev lo") == 0;
      if (done) (void)!::write(ends[1], "r", 1);
      ::close(ends[1]);
      for (;;) ::pause();
    }
    ::close(ends[1]);
    char ready = 0;
    REQUIRE(::read(ends[0], &ready, 1) == 1);
    ::close(ends[0]);
  }
  ~Inhabitant() { end(); }
  void end() {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
    child_ = 0;
  }
  std::string path() const { return "/proc/" + std::to_string(child_) + "/ns/net"; }
  pid_t pid() const { return child_; }

 private:
  pid_t child_ = 0;
};

PodInfo pod() {
  PodInfo info{"u", "p", "ns", "sa"};
  info.ips = {IpAddress::parse("198.18.77.1").value()};
  return info;
}

}  // namespace

TEST_CASE("a namespace is found by an address inside it, and is gone with its last process") {
  Inhabitant inhabitant;
  const auto scan = scan_netns({});
  REQUIRE(scan);
  const auto match = match_netns(*scan, pod(), {}, {});
  REQUIRE(match);
  const auto opened = open_netns((*match)->path, {});
  REQUIRE(opened);
  CHECK((*opened)->id == (*match)->id);
  CHECK((*opened)->id == open_netns(inhabitant.path(), {}).value()->id);

  const auto& processes = scan->processes;
  CHECK(std::count_if(processes.begin(), processes.end(), [&](const NetnsProcess& process) {
          return process.pid == inhabitant.pid() && process.netns == (*match)->id;
        }) == 1);
  CHECK(std::none_of(processes.begin(), processes.end(),
                     [](const NetnsProcess& process) { return process.pid == ::getpid(); }));

  // Our holding it open does not make it look alive.
  inhabitant.end();
  CHECK_FALSE(scan_netns({}).value().find((*opened)->id));
}

TEST_CASE("processes in the node's own namespace tell which pods can be told, and are in no namespace of a pod") {
  const std::string theirs = "2b7c4e1a-9d3f-4c5b-8a6e-0f1d2c3b4a59", on_the_node = "3c8d5f2b-0e4a-4d6c-9b7f-1a2e3d4c5b60";
  Inhabitant inhabitant;
  const testing::TemporaryFolder proc;
  std::filesystem::create_directory(proc.path("1"));
  const auto process = [&](const std::string& pid, const std::string& netns, const std::string& uid) {
    std::filesystem::create_directories(proc.path(pid + "/ns"));
    std::filesystem::create_symlink(netns, proc.path(pid + "/ns/net"));
    proc.file(pid + "/cgroup", "0::/kubepods/burstable/pod" + uid + "/c1\n");
  };
  process("77", inhabitant.path(), theirs);
  process("78", "/proc/self/ns/net", on_the_node);
  const auto scan = scan_netns({proc.path(), {}});
  REQUIRE(scan);
  CHECK(scan->pod_uids == std::set<std::string>{theirs, on_the_node});
  REQUIRE(scan->found.size() == 1);
  CHECK(scan->found[0].pod_uids == std::set<std::string>{theirs});
  REQUIRE(scan->processes.size() == 1);
  CHECK(scan->processes[0].pid == 77);
  CHECK(sign_of(*scan, scan->found[0], pod(), {}, {on_the_node}) == Sign::kNone);
  CHECK(sign_of(*scan, scan->found[0], pod(), {}, {}) == Sign::kInhabited);
}

TEST_CASE("where no thread is to be had a look at the namespaces fails, and nothing else") {
  const pid_t child = ::fork();
  if (child == 0) {
    // A limit of processes does not hold for root.
    const rlimit none{0, 0};
    if (::setgid(65534) != 0 || ::setuid(65534) != 0 || ::setrlimit(RLIMIT_NPROC, &none) != 0) std::_Exit(2);
    const auto scan = scan_netns({});
    std::_Exit(!scan && scan.error().code() == ErrorCode::kLimit ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

TEST_CASE("the node's own namespace, and what is none, are nobody's") {
  for (const auto* path : {"/proc/self/ns/net", "/proc/self/ns/mnt", "/dev/null", "/proc"}) {
    INFO(path);
    const auto opened = open_netns(path, {});
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code() == ErrorCode::kInvalidArgument);
  }
  CHECK(open_netns("/run/netns/no-such-namespace", {}).error().code() == ErrorCode::kNotFound);
  const auto scan = scan_netns({});
  REQUIRE(scan);
  PodInfo self = pod();
  self.ips = {IpAddress::parse("127.0.0.1").value()};
  CHECK_FALSE(match_netns(*scan, self, {}, {}));
}
