#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <thread>

#include "lib/async/cross_thread.h"
#include "lib/runtime/process.h"
#include "lib/runtime/worker_count.h"
#include "lib/runtime/workers.h"
#include "tests/support/child.h"

using namespace weft;
using namespace weft::runtime;

namespace {

Task<std::string> own_name() {
  char name[16] = {};
  pthread_getname_np(pthread_self(), name, sizeof name);
  co_return name;
}

Task<void> ask_all(asio::Loop& control, Workers& workers, std::vector<std::string>& names) {
  for (std::size_t i = 0; i < workers.size(); ++i) {
    auto name = co_await call_on<std::string>(control, workers.loop(i), own_name);
    names.push_back(std::move(name));
  }
  control.stop();
}

struct Detached {
  struct promise_type {
    Detached get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
  };
};
Detached detach(Task<void> task) { co_await std::move(task); }

Task<void> await_signal(asio::Loop& loop, ShutdownSignals& signals, std::string& name) {
  auto got = co_await signals.wait({});
  if (got) name = *got;
  loop.stop();
}

// As a container runtime's default profile has it; for the calling thread, to its end.
bool refuse_io_uring() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{.len = 4, .filter = program};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

}  // namespace

TEST_CASE("where a seccomp profile refuses io_uring the engine is epoll and says why, unless the ring is demanded") {
  bool filtered = false;
  std::string description, refused;
  ErrorCode code = ErrorCode::kIo;
  std::thread([&] {
    filtered = refuse_io_uring();
    EngineOptions options;
    if (auto engine = make_engine(options)) description = (*engine)->description();
    options.choice = EngineChoice::kIoUring;
    if (auto engine = make_engine(options); !engine) {
      code = engine.error().code();
      refused = engine.error().message();
    }
  }).join();
  REQUIRE(filtered);
  CHECK(description.starts_with("epoll (this host or container does not allow io_uring"));
  CHECK(description.find("Operation not permitted") != std::string::npos);
  CHECK(code == ErrorCode::kPermission);
  CHECK(refused.find("does not allow io_uring") != std::string::npos);
}

TEST_CASE("workers run what they are given on named threads") {
  for (const auto choice : {EngineChoice::kAuto, EngineChoice::kEpoll}) {
    EngineOptions options;
    options.choice = choice;
    auto workers = Workers::start("ztunnel", 3, options);
    REQUIRE(workers);
    CHECK((*workers)->description().find(choice == EngineChoice::kEpoll ? "epoll" : "(") != std::string::npos);
    asio::Loop control;
    std::vector<std::string> names;
    detach(ask_all(control, **workers, names));
    control.run();
    CHECK(names == std::vector<std::string>{"ztunnel-0", "ztunnel-1", "ztunnel-2"});
    (*workers)->stop();
    (*workers)->stop();
  }
}

TEST_CASE("a prepared process leaves no core dump, is nobody's to trace, and has all the descriptors it may have") {
  const auto said = testing::in_child([] {
    std::string wrong;
    prepare_process({});
    rlimit core{}, files{};
    if (::getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_max != 0) wrong += "core; ";
    if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur != files.rlim_max) wrong += "files; ";
    if (::prctl(PR_GET_DUMPABLE) != 0) wrong += "dumpable; ";
    return wrong;
  });
  CHECK(said == "");
}

TEST_CASE("a prepared process keeps the capabilities and system calls that it needs, and no others") {
  const auto said = testing::in_child([] {
    std::string wrong;
    const auto before = linux::effective_capabilities();
    prepare_process({.capabilities = {CAP_NET_ADMIN}, .calls = {.enter_network_namespaces = true}});
    const auto after = linux::effective_capabilities();
    if (!before || !after || after->bits() != (before->bits() & linux::Capabilities{CAP_NET_ADMIN}.bits()))
      wrong += "capabilities; ";
    if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) wrong += "new privileges; ";
    if (::syscall(SYS_setns, -1, CLONE_NEWNET) != -1 || errno != EBADF) wrong += "needed call; ";
    if (::syscall(SYS_unshare, 0) != -1 || errno != EPERM) wrong += "other call; ";
    EngineOptions demanded;
    demanded.choice = EngineChoice::kIoUring;
    const auto ring = make_engine(demanded);
    if (ring || ring.error().code() != ErrorCode::kPermission) wrong += "ring; ";
    EngineOptions any;
    if (!make_engine(any)) wrong += "epoll; ";
    return wrong;
  });
  CHECK(said == "");
}

TEST_CASE("a process with nothing to give up, confined already, is prepared all the same") {
  const auto said = testing::in_child([]() -> std::string {
    prepare_process({});
    prepare_process({.capabilities = {CAP_NET_ADMIN, CAP_SYS_ADMIN}, .calls = {.run_programs = true, .io_uring = true}});
    const auto left = linux::effective_capabilities();
    return left ? left->to_string() : left.error().message();
  });
  CHECK(said == "none");
}

TEST_CASE("a signal is awaited by name") {
  asio::Loop loop;
  ShutdownSignals signals(loop);
  std::string name;
  detach(await_signal(loop, signals, name));
  loop.post([] { std::raise(SIGTERM); });
  loop.run();
  CHECK(name == "SIGTERM");
}

TEST_CASE("the number of workers follows the settings") {
  struct Row {
    WorkerCountInputs inputs;
    unsigned expected;
  };
  const auto with = [](auto change) {
    WorkerCountInputs inputs;
    inputs.usable_cpus = 16;
    change(inputs);
    return inputs;
  };
  const Row rows[] = {
      {with([](auto&) {}), 4},
      {with([](auto& i) { i.usable_cpus = 1; }), 2},
      {with([](auto& i) { i.usable_cpus = 9; }), 3},
      {with([](auto& i) { i.resource_cpu_request = "5500m"; }), 6},
      {with([](auto& i) { i.resource_cpu_limit = "500m"; }), 1},
      {with([](auto& i) {
         i.resource_cpu_limit = "500m";
         i.resource_cpu_request = "0";
       }),
       1},
      {with([](auto& i) { i.resource_cpu_limit = "1.5"; }), 2},
      {with([](auto& i) {
         i.resource_cpu_limit = "2";
         i.resource_cpu_request = "3";
       }),
       3},
      {with([](auto& i) { i.worker_threads = "7"; }), 7},
      {with([](auto& i) { i.worker_threads = "0"; }), 16},
      {with([](auto& i) {
         i.worker_threads = "0";
         i.cpu_limit = "12";
       }),
       12},
      {with([](auto& i) { i.worker_threads = "10%"; }), 2},
      {with([](auto& i) { i.worker_threads = "1%"; }), 1},
      {with([](auto& i) {
         i.worker_threads = "50%";
         i.resource_cpu_limit = "3";
       }),
       2},
      {with([](auto& i) { i.concurrency = 5; }), 5},
      {with([](auto& i) {
         i.concurrency = 0;
         i.cpu_limit = "6";
       }),
       6},
      {with([](auto& i) {
         i.concurrency = 5;
         i.worker_threads = "1";
       }),
       1},
      {with([](auto& i) { i.cpu_limit = "40"; }), 10},
  };
  for (const auto& row : rows) {
    auto count = worker_count(row.inputs);
    REQUIRE(count);
    CHECK(*count == row.expected);
  }
  for (const char* bad : {"-1", "", "x", "0%", "101%", "1.5", "%"}) {
    CHECK(!worker_count(with([&](auto& i) { i.worker_threads = bad; })));
  }
  for (const char* bad : {"0", "-2", "", "1Gi", "m"}) {
    CHECK(!worker_count(with([&](auto& i) { i.resource_cpu_limit = bad; })));
  }
}

TEST_CASE("ring features are chosen by name") {
  EngineOptions options;
  REQUIRE(apply_uring_features("multishot", options));
  CHECK(!options.defer_taskrun);
  CHECK(options.limited_multishot);
  REQUIRE(apply_uring_features("none", options));
  CHECK(!options.limited_multishot);
  CHECK(!apply_uring_features("multishot,warp", options));
  CHECK(parse_engine_choice("epoll").value() == EngineChoice::kEpoll);
  CHECK(!parse_engine_choice("kqueue"));
}
