// Namespaces of this machine, found and opened.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <cstdlib>

#include "cni-plugin/agent/netns.h"

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
