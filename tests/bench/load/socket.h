// Plain sockets and epoll for the load generator. It uses nothing of the library it measures.
#pragma once

#include <netinet/in.h>
#include <sys/epoll.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tests/bench/load/protocol.h"

namespace weft::load {

// Ends the program: "load: WHAT: the reason in errno". For this program's own troubles, not for the path's.
[[noreturn]] void die(const std::string& what);

// Nanoseconds of the monotonic clock.
std::uint64_t now_ns();

sockaddr_in parse_address(const std::string& ip, int port);

// A listening, non-blocking socket. Port 0 takes a free one.
int listen_on(const sockaddr_in& address);
int local_port(int fd);

// A non-blocking socket on its way to `address`, without Nagle's delay; -1 when that fails at once.
int begin_connect(const sockaddr_in& address);

// A non-blocking connection on which `request` was sent and accepted; -1 when the path failed or took over 20 s.
int open_path(const sockaddr_in& address, const Request& request);

// Blocking helpers on a non-blocking socket, for set-up only. False on end, error, or after 20 s.
bool send_all(int fd, const void* data, std::size_t size);
bool receive_all(int fd, void* data, std::size_t size);

// read and write outcomes: a count, or one of these.
inline constexpr std::ptrdiff_t kAgain = -1;
inline constexpr std::ptrdiff_t kFailed = -2;
std::ptrdiff_t receive_some(int fd, std::span<char> out);  // 0: the other side finished writing
std::ptrdiff_t send_some(int fd, const char* data, std::size_t size);

class Poller {
 public:
  Poller();
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  void add(int fd, std::uint32_t events, void* owner);
  void change(int fd, std::uint32_t events, void* owner);
  void remove(int fd);
  // Waits up to `limit_ms` (-1: for ever). Valid until the next call.
  std::span<epoll_event> wait(int limit_ms);

 private:
  int fd_;
  std::vector<epoll_event> events_;
};

}  // namespace weft::load
