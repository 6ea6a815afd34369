#include "tests/bench/load/socket.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace weft::load {
namespace {

constexpr int kSetUpLimitMs = 20'000;
constexpr int kBacklog = 4096;           // as many as a burst of new connections brings between two turns of the loop
constexpr std::size_t kEventsMax = 256;  // per turn

void no_delay(int fd) {
  const int one = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

bool wait_until(int fd, short events) {
  pollfd entry{fd, events, 0};
  return ::poll(&entry, 1, kSetUpLimitMs) == 1;
}

}  // namespace

void die(const std::string& what) {
  std::fprintf(stderr, "load: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
}

sockaddr_in parse_address(const std::string& ip, int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  if (::inet_pton(AF_INET, ip.c_str(), &address.sin_addr) != 1) {
    errno = EINVAL;
    die("address " + ip);
  }
  return address;
}

int listen_on(const sockaddr_in& address) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) die("socket");
  const int one = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) die("bind");
  if (::listen(fd, kBacklog) != 0) die("listen");
  return fd;
}

int local_port(int fd) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) die("getsockname");
  return ntohs(address.sin_port);
}

int begin_connect(const sockaddr_in& address) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  no_delay(fd);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 || errno == EINPROGRESS) return fd;
  ::close(fd);
  return -1;
}

int open_path(const sockaddr_in& address, const Request& request) {
  const int fd = begin_connect(address);
  char answer = 0;
  if (fd >= 0 && wait_until(fd, POLLOUT) && send_all(fd, &request, sizeof request) && receive_all(fd, &answer, 1) &&
      answer == kAccepted) {
    return fd;
  }
  if (fd >= 0) ::close(fd);
  return -1;
}

bool send_all(int fd, const void* data, std::size_t size) {
  const char* next = static_cast<const char*>(data);
  while (size > 0) {
    const auto sent = send_some(fd, next, size);
    if (sent == kFailed || (sent == kAgain && !wait_until(fd, POLLOUT))) return false;
    if (sent > 0) {
      next += sent;
      size -= static_cast<std::size_t>(sent);
    }
  }
  return true;
}

bool receive_all(int fd, void* data, std::size_t size) {
  char* next = static_cast<char*>(data);
  while (size > 0) {
    const auto got = receive_some(fd, {next, size});
    if (got == kFailed || got == 0 || (got == kAgain && !wait_until(fd, POLLIN))) return false;
    if (got > 0) {
      next += got;
      size -= static_cast<std::size_t>(got);
    }
  }
  return true;
}

std::ptrdiff_t receive_some(int fd, std::span<char> out) {
  const auto got = ::recv(fd, out.data(), out.size(), 0);
  if (got >= 0) return got;
  return errno == EAGAIN || errno == EINTR ? kAgain : kFailed;
}

std::ptrdiff_t send_some(int fd, const char* data, std::size_t size) {
  const auto sent = ::send(fd, data, size, MSG_NOSIGNAL);
  if (sent >= 0) return sent;
  return errno == EAGAIN || errno == EINTR ? kAgain : kFailed;
}

Poller::Poller() : fd_(::epoll_create1(EPOLL_CLOEXEC)), events_(kEventsMax) {
  if (fd_ < 0) die("epoll_create1");
}

Poller::~Poller() { ::close(fd_); }

void Poller::add(int fd, std::uint32_t events, void* owner) {
  epoll_event event{events, {.ptr = owner}};
  if (::epoll_ctl(fd_, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll add");
}

void Poller::change(int fd, std::uint32_t events, void* owner) {
  epoll_event event{events, {.ptr = owner}};
  if (::epoll_ctl(fd_, EPOLL_CTL_MOD, fd, &event) != 0) die("epoll change");
}

void Poller::remove(int fd) {
  if (::epoll_ctl(fd_, EPOLL_CTL_DEL, fd, nullptr) != 0) die("epoll remove");
}

std::span<epoll_event> Poller::wait(int limit_ms) {
  const int count = ::epoll_wait(fd_, events_.data(), static_cast<int>(events_.size()), limit_ms);
  if (count < 0 && errno != EINTR) die("epoll_wait");
  return {events_.data(), static_cast<std::size_t>(count < 0 ? 0 : count)};
}

}  // namespace weft::load
