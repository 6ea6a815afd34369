// What a process gives up for good is tried in children of the test.
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "lib/base/fd.h"
#include "lib/base/sanitizers.h"
#include "lib/linux/capabilities.h"
#include "lib/linux/features.h"
#include "lib/linux/system_calls.h"
#include "tests/support/child.h"

extern char** environ;
extern "C" __attribute__((weak)) int __lsan_do_recoverable_leak_check();

using namespace weft;
using namespace weft::linux;
using weft::testing::in_child;

namespace {

constexpr bool kWatched = kAddressSanitizer || kThreadSanitizer;
constexpr const char* kNone = "/there is no such file";

bool is_root() {
  const auto held = effective_capabilities();
  return held && held->has(CAP_SYS_ADMIN) && held->has(CAP_NET_ADMIN);
}

// 0, or what the kernel had against it.
int error_of(long result) { return result < 0 ? errno : 0; }

// A call whose arguments do no harm, and what the kernel answers without a filter is not what it answers with one.
struct Attempt {
  const char* name;
  std::function<long()> call;
};

char* nowhere() { return reinterpret_cast<char*>(1); }

const std::vector<Attempt>& attempts_of_all() {
  static const std::vector<Attempt> kAttempts = {
      {"mount", [] { return ::syscall(SYS_mount, 0, nowhere(), 0, 0, 0); }},
      {"umount2", [] { return ::syscall(SYS_umount2, nowhere(), 0); }},
      {"pivot_root", [] { return ::syscall(SYS_pivot_root, nowhere(), nowhere()); }},
      {"chroot", [] { return ::syscall(SYS_chroot, kNone); }},
      {"open_tree", [] { return ::syscall(SYS_open_tree, -1, kNone, 0); }},
      {"fsopen", [] { return ::syscall(SYS_fsopen, nowhere(), 0); }},
      {"mount_setattr", [] { return ::syscall(SYS_mount_setattr, -1, nowhere(), 0, nowhere(), 1); }},
      {"open_by_handle_at", [] { return ::syscall(SYS_open_by_handle_at, -1, nowhere(), 0); }},
      {"swapon", [] { return ::syscall(SYS_swapon, nowhere(), 0); }},
      {"init_module", [] { return ::syscall(SYS_init_module, nowhere(), 0, nowhere()); }},
      {"kexec_load", [] { return ::syscall(SYS_kexec_load, 0, 0, 0, ~0UL); }},
      {"bpf", [] { return ::syscall(SYS_bpf, -1, nowhere(), 0); }},
      {"perf_event_open", [] { return ::syscall(SYS_perf_event_open, nowhere(), 0, 0, -1, 0); }},
      {"userfaultfd", [] { return ::syscall(SYS_userfaultfd, ~0); }},
      {"add_key", [] { return ::syscall(SYS_add_key, nowhere(), nowhere(), 0, 0, 0); }},
      {"keyctl", [] { return ::syscall(SYS_keyctl, -1, 0, 0, 0, 0); }},
      {"reboot", [] { return ::syscall(SYS_reboot, 0, 0, 0, 0); }},
      {"acct", [] { return ::syscall(SYS_acct, kNone); }},
      {"clock_settime", [] { return ::syscall(SYS_clock_settime, -1, nowhere()); }},
      {"personality", [] { return ::syscall(SYS_personality, 0xFFFFFFFF); }},
      {"clone into a new user namespace", [] { return ::syscall(SYS_clone, CLONE_NEWUSER | CLONE_FS, 0, 0, 0, 0); }},
#if defined(__x86_64__)
      {"iopl", [] { return ::syscall(SYS_iopl, 4); }},
      {"a call of the x32 ABI", [] { return ::syscall(0x40000000 + SYS_getpid); }},
#endif
  };
  return kAttempts;
}

const std::vector<Attempt>& attempts_by_needs() {
  static const std::vector<Attempt> kAttempts = {
      {"execve", [] { return ::syscall(SYS_execve, kNone, nullptr, nullptr); }},
      {"execveat", [] { return ::syscall(SYS_execveat, -1, kNone, nullptr, nullptr, 0); }},
      {"setns", [] { return ::syscall(SYS_setns, -1, CLONE_NEWNET); }},
      {"unshare", [] { return ::syscall(SYS_unshare, 0); }},
      {"io_uring_setup", [] { return ::syscall(SYS_io_uring_setup, 0, nowhere()); }},
      {"io_uring_enter", [] { return ::syscall(SYS_io_uring_enter, -1, 0, 0, 0, nullptr, 0); }},
  };
  return kAttempts;
}

const std::vector<Attempt>& attempts_on_processes() {
  static const std::vector<Attempt> kAttempts = {
      {"ptrace", [] { return ::syscall(SYS_ptrace, 16 /* PTRACE_ATTACH */, 0x7FFFFFFF, 0, 0); }},
      {"process_vm_readv", [] { return ::syscall(SYS_process_vm_readv, 0x7FFFFFFF, nullptr, 0, nullptr, 0, 1); }},
      {"pidfd_getfd", [] { return ::syscall(SYS_pidfd_getfd, -1, 0, 0); }},
  };
  return kAttempts;
}

// The names of attempts that get EPERM.
std::string not_permitted(const std::vector<Attempt>& attempts) {
  std::string names;
  for (const auto& attempt : attempts) {
    if (error_of(attempt.call()) == EPERM) names += std::string(attempt.name) + "; ";
  }
  return names;
}

std::string all_of(const std::vector<Attempt>& attempts) {
  std::string names;
  for (const auto& attempt : attempts) names += std::string(attempt.name) + "; ";
  return names;
}

// What not_permitted() says in a confined child.
std::string refused_with(const CallsInUse& in_use, const std::vector<Attempt>& attempts) {
  return in_child([&] {
    const auto confined = refuse_system_calls(in_use);
    return confined ? not_permitted(attempts) : confined.error().message();
  });
}

int run(const char* program) {
  const char* arguments[] = {program, nullptr};
  pid_t child = -1;
  if (const int error = ::posix_spawn(&child, program, nullptr, nullptr, const_cast<char**>(arguments), environ))
    return error;
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

// The hexadecimal set after `key` in the status of the calling thread.
std::uint64_t status_set(const std::string& key) {
  std::string text(8192, '\0');
  const Fd fd(::open("/proc/thread-self/status", O_RDONLY | O_CLOEXEC));
  const auto got = ::read(fd.get(), text.data(), text.size());
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  const auto at = text.find("\n" + key + ":\t");
  return at == std::string::npos ? ~0ULL : std::stoull(text.substr(at + key.size() + 3), nullptr, 16);
}

}  // namespace

TEST_CASE("capabilities are sets with names") {
  CHECK(Capabilities{}.to_string() == "none");
  CHECK((Capabilities{CAP_SYS_ADMIN} | Capabilities{CAP_NET_ADMIN}).to_string() == "net_admin,sys_admin");
  CHECK(Capabilities{CAP_CHOWN, CAP_SYS_PTRACE}.to_string() == "0,sys_ptrace");
  CHECK(Capabilities{CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH}.to_string() == "dac_override,dac_read_search");
  CHECK(capabilities_to_listen({0, 1024, 15012}) == Capabilities{});
  CHECK(capabilities_to_listen({15012, 443}) == Capabilities{CAP_NET_BIND_SERVICE});
}

TEST_CASE("capabilities that are not kept are gone from every set, in later threads too, and what they allowed is refused") {
  if (!is_root()) SKIP("has no capabilities to give up");
  REQUIRE(check_enter_network_namespace());
  const auto said = in_child([]() -> std::string {
    const auto kept = keep_capabilities({CAP_NET_ADMIN}, {});
    if (!kept) return kept.error().message();
    std::string wrong = *kept == Capabilities{CAP_NET_ADMIN} ? "" : "kept " + kept->to_string() + "; ";
    std::thread([&] {
      if (status_set("CapPrm") != Capabilities{CAP_NET_ADMIN}.bits()) wrong += "permitted; ";
      if (status_set("CapEff") != Capabilities{CAP_NET_ADMIN}.bits()) wrong += "effective; ";
      if (status_set("CapBnd") != 0) wrong += "bounding; ";
      if (status_set("CapInh") != 0) wrong += "inheritable; ";
      if (status_set("CapAmb") != 0) wrong += "ambient; ";
      if (!check_socket_mark() || !check_transparent()) wrong += "sockets with marks and foreign addresses; ";
    }).join();
    const auto entered = check_enter_network_namespace();
    if (entered || entered.error().code() != ErrorCode::kPermission) wrong += "enters namespaces; ";
    return wrong;
  });
  CHECK(said == "");
}

TEST_CASE("what is not there is not missed, and does not come back") {
  if (!is_root()) SKIP("has no capabilities to give up");
  const auto said = in_child([]() -> std::string {
    if (!keep_capabilities({CAP_NET_ADMIN}, {})) return "first";
    if (first_in_force({CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_NET_RAW}) != Capabilities{CAP_NET_ADMIN}) return "another choice";
    if (first_in_force({CAP_SYS_ADMIN, CAP_NET_RAW}) != Capabilities{CAP_NET_RAW}) return "another last choice";
    // Without CAP_SETPCAP now, and asking for more.
    const auto again = keep_capabilities({CAP_NET_ADMIN, CAP_SYS_ADMIN}, {CAP_SYS_ADMIN});
    return again ? again->to_string() : again.error().message();
  });
  CHECK(said == "net_admin");
}

TEST_CASE("programs that are run keep what is meant for them and no more") {
  if (!is_root()) SKIP("has no capabilities to give up");
  const auto said = in_child([]() -> std::string {
    const Capabilities both{CAP_NET_ADMIN, CAP_SYS_ADMIN};
    if (!keep_capabilities(both, both)) return "not kept";
    if (!refuse_system_calls({.run_programs = true})) return "not confined";
    if (status_set("CapBnd") != both.bits()) return "bounding";
    const char* arguments[] = {"grep", "-q", "^CapEff:\t0000000000201000$", "/proc/self/status", nullptr};
    pid_t child = -1;
    if (::posix_spawnp(&child, arguments[0], nullptr, nullptr, const_cast<char**>(arguments), environ) != 0)
      return "no grep";
    int status = 0;
    ::waitpid(child, &status, 0);
    return status == 0 ? "" : "another set of capabilities";
  });
  CHECK(said == "");
}

TEST_CASE("system calls that no program of ours makes are refused, whatever it needs") {
  const CallsInUse everything{
      .run_programs = true, .enter_network_namespaces = true, .make_network_namespaces = true, .io_uring = true};
  CHECK(refused_with(everything, attempts_of_all()) == all_of(attempts_of_all()));
  CHECK(refused_with(everything, attempts_on_processes()) == (kWatched ? "" : all_of(attempts_on_processes())));
  // The filter did it: root, without one, is told of bad arguments.
  if (is_root()) CHECK(in_child([] { return not_permitted(attempts_of_all()); }).empty());
  CHECK(in_child([] { return not_permitted(attempts_on_processes()); }).empty());
}

TEST_CASE("each need opens its own system calls") {
  const std::string programs = kWatched ? "" : "execve; execveat; ";
  CHECK(refused_with({}, attempts_by_needs()) == programs + "setns; unshare; io_uring_setup; io_uring_enter; ");
  CHECK(refused_with({.run_programs = true}, attempts_by_needs()) == "setns; unshare; io_uring_setup; io_uring_enter; ");
  CHECK(refused_with({.enter_network_namespaces = true, .io_uring = true}, attempts_by_needs()) == programs + "unshare; ");
}

TEST_CASE("namespaces that may be entered or made are those of networks alone") {
  if (!is_root()) SKIP("may make no namespaces");
  const auto attempt = []() -> std::string {
    std::string outcome;
    const auto note = [&](const char* what, long result) { outcome += what + std::to_string(error_of(result)) + " "; };
    const Fd network(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    note("net=", ::setns(network.get(), CLONE_NEWNET));
    note("any=", ::setns(network.get(), 0));
    note("new-net=", ::unshare(CLONE_NEWNET));
    note("new-names=", ::unshare(CLONE_NEWUTS));
    note("new-both=", ::unshare(CLONE_NEWNET | CLONE_NEWUTS));
    return outcome;
  };
  CHECK(in_child(attempt) == "net=0 any=0 new-net=0 new-names=0 new-both=0 ");
  const auto said = in_child([&]() -> std::string {
    if (!refuse_system_calls({.enter_network_namespaces = true, .make_network_namespaces = true})) return "not confined";
    return attempt();
  });
  CHECK(said == "net=0 any=1 new-net=0 new-names=1 new-both=1 ");
}

TEST_CASE("a confined process starts threads and programs, opens sockets and waits on them") {
  const auto said = in_child([]() -> std::string {
    if (const auto confined = refuse_system_calls({.run_programs = true}); !confined) return confined.error().message();
    std::string wrong;
    bool ran = false;
    std::thread([&] { ran = true; }).join();
    if (!ran) wrong += "thread; ";
    if (run("/bin/true") != 0) wrong += "program; ";
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || ::write(pair[0], "x", 1) != 1) wrong += "sockets; ";
    pollfd poll{pair[1], POLLIN, 0};
    if (::poll(&poll, 1, 5000) != 1) wrong += "poll; ";
    if (::epoll_create1(0) < 0) wrong += "epoll; ";
    if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) wrong += "new privileges; ";
    if (status_set("Seccomp") != 2) wrong += "filter; ";
    return wrong;
  });
  CHECK(said == "");
}

TEST_CASE("threads that run already are confined with the rest") {
  const auto said = in_child([]() -> std::string {
    std::latch confined(1);
    int error = 0;
    std::thread early([&] {
      confined.wait();
      error = error_of(::syscall(SYS_setns, -1, CLONE_NEWNET));
    });
    const bool done = refuse_system_calls({}).has_value();
    confined.count_down();
    early.join();
    return done && error == EPERM ? "" : "error " + std::to_string(error);
  });
  CHECK(said == "");
}

#if defined(__x86_64__)
TEST_CASE("the 32-bit ABI of the processor is refused") {
  const auto getpid32 = [] {
    long result = 20;  // getpid
    asm volatile("int $0x80" : "+a"(result) : : "r8", "r9", "r10", "r11", "memory");
    return result;
  };
  if (in_child([&] { return std::to_string(getpid32() > 0); }) != "1") SKIP("this kernel has no 32-bit ABI");
  const auto said =
      in_child([&]() -> std::string { return refuse_system_calls({}) ? std::to_string(getpid32()) : "not confined"; });
  CHECK(said == std::to_string(-EPERM));
}
#endif

TEST_CASE("memory that was written to is not executed") {
  const auto attempt = []() -> std::string {
    constexpr std::size_t kSize = 4096;
    void* memory = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const bool later = ::mprotect(memory, kSize, PROT_READ | PROT_EXEC) == 0;
    const bool both = ::mmap(nullptr, kSize, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
    const int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    const bool mapped = ::mmap(nullptr, kSize, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0) != MAP_FAILED;
    return std::string(later ? "later " : "") + (both ? "both " : "") + (mapped ? "from a file" : "");
  };
  CHECK(in_child(attempt) == "later both from a file");
  const auto said = in_child([&]() -> std::string {
    const auto forbidden = forbid_new_code();
    if (forbidden) return attempt();
    return forbidden.error().code() == ErrorCode::kUnsupported ? "unsupported" : forbidden.error().message();
  });
  if (said == "unsupported") SKIP("this kernel is older than Linux 6.3");
  CHECK(said == "from a file");
}

TEST_CASE("a sanitizer can still look for leaks in a confined process") {
  if (__lsan_do_recoverable_leak_check == nullptr) SKIP("not watched for leaks");
  const auto said = in_child([]() -> std::string {
    if (!keep_capabilities({}, {}) || !forbid_new_code() || !refuse_system_calls({})) return "not confined";
    return __lsan_do_recoverable_leak_check() == 0 ? "none" : "leaks";
  });
  CHECK(said == "none");
}
