#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <map>
#include <string>

#include "lib/linux/features.h"
#include "lib/linux/limits.h"
#include "lib/linux/socket_options.h"
#include "tests/support/sockets.h"
#include "tests/support/temporary_folder.h"

using namespace weft;
using namespace weft::linux;
using namespace std::chrono_literals;

namespace {

// Of a machine whose root holds these files.
double quota_of(const std::map<std::string, std::string>& files) {
  const testing::TemporaryFolder root;
  for (const auto& [name, text] : files) root.file(name, text);
  return cgroup_cpu_quota(root.path());
}

}  // namespace

TEST_CASE("a TCP socket has no delay, and keepalive is rounded up to seconds") {
  auto fd = make_tcp_socket(false, Blocking::kNo);
  REQUIRE(fd);
  CHECK(testing::option(*fd, IPPROTO_TCP, TCP_NODELAY) == 1);
  REQUIRE(set_keepalive(fd->get(), 1500ms, 3s, 4));
  CHECK(testing::option(*fd, SOL_SOCKET, SO_KEEPALIVE) == 1);
  CHECK(testing::option(*fd, IPPROTO_TCP, TCP_KEEPIDLE) == 2);
  CHECK(testing::option(*fd, IPPROTO_TCP, TCP_KEEPINTVL) == 3);
  CHECK(testing::option(*fd, IPPROTO_TCP, TCP_KEEPCNT) == 4);
  REQUIRE(set_user_timeout(fd->get(), 14s));
  CHECK(testing::option(*fd, IPPROTO_TCP, TCP_USER_TIMEOUT) == 14000);
}

TEST_CASE("an unknown congestion control is an error that names it") {
  auto fd = make_tcp_socket(false, Blocking::kNo);
  REQUIRE(fd);
  CHECK(set_congestion_control(fd->get(), "reno"));
  auto unknown = set_congestion_control(fd->get(), "nosuch");
  REQUIRE(!unknown);
  CHECK(unknown.error().message().find("nosuch") != std::string::npos);
}

TEST_CASE("the original destination of a connection that was not redirected is its local address") {
  auto listener = make_tcp_socket(false, Blocking::kYes);
  REQUIRE(listener);
  REQUIRE(testing::bind_at(*listener, {IpAddress::loopback(false), 0}));
  REQUIRE(::listen(listener->get(), 1) == 0);
  auto address = local_address(listener->get());
  REQUIRE(address);
  auto client = make_tcp_socket(false, Blocking::kYes);
  REQUIRE(client);
  REQUIRE(testing::dial(*client, *address));
  const Fd accepted = testing::accept_from(*listener);
  REQUIRE(accepted);
  CHECK(original_destination(accepted.get()).value() == *address);
  CHECK(peer_address(accepted.get()).value() == local_address(client->get()).value());

  reset_connection(client->get());
  char byte;
  CHECK(::recv(accepted.get(), &byte, 1, 0) == -1);
  CHECK(errno == ECONNRESET);
}

TEST_CASE("a processor quota is read from the kernel's text") {
  CHECK(parse_cpu_max("150000 100000\n") == 1.5);
  CHECK(parse_cpu_max("max 100000\n") == 0);
  CHECK(parse_cpu_max("-1\n 100000\n") == 0);
  CHECK(parse_cpu_max("") == 0);
  CHECK(raise_open_files_limit());
}

TEST_CASE("the processor quota is the tightest on the way from the process's cgroup to the root") {
  const std::string pod = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice";
  const std::string container = pod + "/cri-containerd-2.scope";
  // Version 2, seen from the node: the pod's quota is tighter than its container's.
  CHECK(quota_of({{"proc/self/cgroup", "0::/" + container + "\n"},
                  {"sys/fs/cgroup/" + container + "/cpu.max", "400000 100000\n"},
                  {"sys/fs/cgroup/" + pod + "/cpu.max", "250000 100000\n"},
                  {"sys/fs/cgroup/kubepods.slice/cpu.max", "max 100000\n"}}) == 2.5);
  // Version 2, in a container with a cgroup namespace of its own.
  CHECK(quota_of({{"proc/self/cgroup", "0::/\n"}, {"sys/fs/cgroup/cpu.max", "50000 100000\n"}}) == 0.5);
  CHECK(quota_of({{"proc/self/cgroup", "0::/\n"}, {"sys/fs/cgroup/cpu.max", "max 100000\n"}}) == 0);
}

TEST_CASE("the processors that can be used are those of the affinity mask, cut by the quota and at least one") {
  const auto usable = [](const char* quota) {
    const testing::TemporaryFolder root;
    root.file("proc/self/cgroup", "0::/\n");
    root.file("sys/fs/cgroup/cpu.max", quota);
    return usable_cpus(root.path());
  };
  const unsigned all = usable("max 100000\n");
  CHECK(all >= 1);
  CHECK(usable("100000000 100000\n") == all);
  CHECK(usable("100000 100000\n") == 1);
  CHECK(usable("20000 100000\n") == 1);
  CHECK(usable("150000 100000\n") == std::min(all, 2U));

  cpu_set_t before, one;
  REQUIRE(::sched_getaffinity(0, sizeof before, &before) == 0);
  CPU_ZERO(&one);
  CPU_SET(::sched_getcpu(), &one);
  REQUIRE(::sched_setaffinity(0, sizeof one, &one) == 0);
  CHECK(usable("max 100000\n") == 1);
  REQUIRE(::sched_setaffinity(0, sizeof before, &before) == 0);
}

TEST_CASE("a processor quota of version 1 is found, and not mistaken for that of another controller") {
  const std::string lines =
      "12:cpuset:/set\n11:memory:/kubepods/pod1/c2\n4:cpu,cpuacct:/kubepods/pod1/c2\n1:name=systemd:/x\n0::/system\n";
  const std::string cpu = "sys/fs/cgroup/cpu/";
  CHECK(quota_of({{"proc/self/cgroup", lines},
                  {cpu + "kubepods/pod1/c2/cpu.cfs_quota_us", "150000\n"},
                  {cpu + "kubepods/pod1/c2/cpu.cfs_period_us", "100000\n"},
                  {cpu + "kubepods/pod1/cpu.cfs_quota_us", "-1\n"},
                  {cpu + "kubepods/pod1/cpu.cfs_period_us", "100000\n"},
                  {cpu + "set/cpu.cfs_quota_us", "1000\n"},  // somebody else's
                  {cpu + "set/cpu.cfs_period_us", "100000\n"}}) == 1.5);
  // A container without a cgroup namespace: the path is the host's, the files are at the mount's root.
  CHECK(quota_of({{"proc/self/cgroup", lines},
                  {cpu + "cpu.cfs_quota_us", "300000\n"},
                  {cpu + "cpu.cfs_period_us", "100000\n"}}) == 3);
  CHECK(quota_of({{"proc/self/cgroup", lines}}) == 0);
  CHECK(quota_of({}) == 0);
}
