// What one plain TCP proxy over our engines costs: the engine and the pump alone, without TLS and HTTP/2.
//
//   io_bench server IP PORT              a sink on PORT, an echo on PORT+1; one thread per connection
//   io_bench proxy IP PORT TO_IP TO_PORT [io_uring|epoll] [SPIN_US]    PORT and PORT+1 to TO_PORT and TO_PORT+1
//   io_bench client IP PORT MODE PROXY_PID   MODE: bulk | pp | ppn | churn
//
// The client prints one line: throughput or latency, and the proxy's processor time per GiB, round trip or connection, read
// from the scheduler's own accounts (/proc/PID/task/*/schedstat).
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "lib/async/scope.h"
#include "lib/io/pump.h"
#include "lib/runtime/engine.h"

using namespace weft;

namespace {

using SteadyClock = std::chrono::steady_clock;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

int connect_to(const SocketAddress& address) {
  const int fd = ::socket(address.ip().is_v6() ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int one = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  sockaddr_storage storage;
  const auto size = address.to_sockaddr(storage);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&storage), size) != 0) die("connect");
  return fd;
}

void serve(SocketAddress address, bool echo) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int one = 1;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  ::setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  sockaddr_storage storage;
  const auto size = address.to_sockaddr(storage);
  if (::bind(listener, reinterpret_cast<sockaddr*>(&storage), size) != 0 || ::listen(listener, 4096) != 0) die("listen");
  for (;;) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    std::thread([fd, echo] {
      std::vector<char> buffer(256 * 1024);
      for (ssize_t got; (got = ::read(fd, buffer.data(), buffer.size())) > 0;) {
        if (echo && ::send(fd, buffer.data(), static_cast<std::size_t>(got), MSG_NOSIGNAL) != got) break;
      }
      ::close(fd);
    }).detach();
  }
}

// Seconds the process's threads ran.
double cpu_seconds(const std::string& pid) {
  double total = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + pid + "/task")) {
    std::ifstream file(task.path() / "schedstat");
    double ran = 0;
    file >> ran;
    total += ran / 1e9;
  }
  return total;
}

void read_exactly(int fd, char* out, std::size_t size) {
  while (size > 0) {
    const auto got = ::read(fd, out, size);
    if (got <= 0) die("read");
    out += got;
    size -= static_cast<std::size_t>(got);
  }
}

void ping_pong(const SocketAddress& address, int rounds, std::vector<double>* latencies) {
  const int fd = connect_to(address);
  char byte = 'x';
  for (int i = 0; i < rounds; ++i) {
    const auto begin = SteadyClock::now();
    if (::write(fd, &byte, 1) != 1) die("write");
    read_exactly(fd, &byte, 1);
    if (latencies) latencies->push_back(std::chrono::duration<double, std::micro>(SteadyClock::now() - begin).count());
  }
  ::close(fd);
}

void client(SocketAddress address, const std::string& mode, const std::string& pid) {
  const SocketAddress echo(address.ip(), static_cast<std::uint16_t>(address.port() + 1));
  if (mode != "bulk") ping_pong(echo, 200, nullptr);  // warm up
  const double cpu_before = cpu_seconds(pid);
  const auto begin = SteadyClock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(SteadyClock::now() - begin).count(); };
  if (mode == "bulk") {
    const double gib = 8;
    const int fd = connect_to(address);
    std::vector<char> block(256 * 1024, 'b');
    for (std::size_t sent = 0; sent < static_cast<std::size_t>(gib * (1u << 30));) {
      const auto written = ::write(fd, block.data(), block.size());
      if (written <= 0) die("write");
      sent += static_cast<std::size_t>(written);
    }
    ::shutdown(fd, SHUT_WR);
    char byte;
    if (::read(fd, &byte, 1) != 0) die("end");
    const double seconds = elapsed();
    std::printf("bulk  %.1f Gbit/s, proxy %.3f CPU-s/GiB\n", gib * 8.59 / seconds, (cpu_seconds(pid) - cpu_before) / gib);
  } else if (mode == "pp") {
    const int rounds = 30'000;
    std::vector<double> latencies;
    ping_pong(echo, rounds, &latencies);
    std::sort(latencies.begin(), latencies.end());
    std::printf("pp    p50 %.1f us, p99 %.1f us, proxy %.2f CPU-us/rt\n", latencies[rounds / 2],
                latencies[rounds * 99 / 100], (cpu_seconds(pid) - cpu_before) / rounds * 1e6);
  } else if (mode == "ppn") {
    const int rounds = 1000, connections = 64;
    std::vector<std::thread> threads;
    for (int i = 0; i < connections; ++i) threads.emplace_back([&] { ping_pong(echo, rounds, nullptr); });
    for (auto& thread : threads) thread.join();
    std::printf("ppn   %.0f rt/s, proxy %.2f CPU-us/rt\n", rounds * connections / elapsed(),
                (cpu_seconds(pid) - cpu_before) / (rounds * connections) * 1e6);
  } else if (mode == "churn") {
    const int connections = 5000;
    for (int i = 0; i < connections; ++i) ping_pong(echo, 1, nullptr);
    std::printf("churn %.0f conn/s, proxy %.1f CPU-us/conn\n", connections / elapsed(),
                (cpu_seconds(pid) - cpu_before) / connections * 1e6);
  }
}

Task<void> forward(Loop& loop, io::Network& network, io::StreamPtr downstream, SocketAddress to) {
  auto upstream = co_await network.connect(to, {}, {});
  if (!upstream) co_return;
  io::PumpCounters counters;
  auto result = co_await io::pump(loop, *downstream, **upstream, counters, {});
  (void)result;
}

Task<void> accept_all(Loop& loop, io::Network& network, io::Listener& listener, Scope& scope, SocketAddress to) {
  for (;;) {
    auto accepted = co_await listener.accept({});
    if (!accepted) co_return;
    scope.spawn(forward(loop, network, std::move(accepted->stream), to));
  }
}

void proxy(SocketAddress from, SocketAddress to, const std::string& engine_name, int spin_us) {
  runtime::EngineOptions options;
  options.choice = runtime::parse_engine_choice(engine_name).value();
  options.spin = std::chrono::microseconds(spin_us);
  auto engine = runtime::make_engine(options);
  if (!engine) {
    std::fprintf(stderr, "%s\n", engine.error().message().c_str());
    std::exit(1);
  }
  std::fprintf(stderr, "%s\n", (*engine)->description().c_str());
  auto network = (*engine)->networks().own();
  Scope scope((*engine)->loop());
  std::vector<io::ListenerPtr> listeners;
  io::ListenOptions listen_options;
  listen_options.backlog = 4096;
  for (std::uint16_t i = 0; i < 2; ++i) {
    auto listener = network->listen(SocketAddress(from.ip(), static_cast<std::uint16_t>(from.port() + i)), listen_options);
    if (!listener) std::exit(1);
    listeners.push_back(std::move(*listener));
    scope.spawn(accept_all((*engine)->loop(), *network, *listeners.back(), scope,
                           SocketAddress(to.ip(), static_cast<std::uint16_t>(to.port() + i))));
  }
  (*engine)->run();
}

SocketAddress address_of(const char* ip, const char* port, int offset = 0) {
  return {IpAddress::parse(ip).value(), static_cast<std::uint16_t>(std::atoi(port) + offset)};
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "server" && argc == 4) {
    std::thread(serve, address_of(argv[2], argv[3]), false).detach();
    serve(address_of(argv[2], argv[3], 1), true);
  } else if (what == "proxy" && argc >= 6) {
    proxy(address_of(argv[2], argv[3]), address_of(argv[4], argv[5]), argc > 6 ? argv[6] : "auto",
          argc > 7 ? std::atoi(argv[7]) : 0);
  } else if (what == "client" && argc == 6) {
    client(address_of(argv[2], argv[3]), argv[4], argv[5]);
  } else {
    std::fprintf(stderr, "usage: see the top of tests/bench/io_bench.cc\n");
    return 64;
  }
}
