#include "tests/bench/load/server.h"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <string>
#include <vector>

#include "tests/bench/load/pattern.h"
#include "tests/bench/load/socket.h"

namespace weft::load {
namespace {

// Reads or writes of one connection before the others get their turn.
constexpr int kTurns = 4;

struct Connection {
  int fd;
  std::uint32_t events = EPOLLIN;
  std::size_t request_size = 0;  // bytes of the request so far
  Request request;
  std::uint64_t moved = 0;  // sink: received; source: sent
  bool intact = true;
  bool begun = false;  // source: the client said go
  bool read_end = false;
  bool write_end = false;
  std::string out;  // answers and echoed bytes the socket has not taken; reading waits while there are any
};

class Server {
 public:
  explicit Server(const sockaddr_in& address) : listener_(listen_on(address)), buffer_(kPieceMax) {
    poller_.add(listener_, EPOLLIN, nullptr);
    std::printf("listening %d\n", local_port(listener_));
    std::fflush(stdout);
  }

  [[noreturn]] void run() {
    for (;;) {
      for (const auto& event : poller_.wait(-1)) {
        auto* connection = static_cast<Connection*>(event.data.ptr);
        if (!connection) {
          accept_all();
        } else if (!step(*connection)) {
          ::close(connection->fd);
          delete connection;
        }
      }
    }
  }

 private:
  void accept_all() {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE) die("accept");
        return;
      }
      const int one = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      auto* connection = new Connection{fd};
      poller_.add(fd, EPOLLIN, connection);
    }
  }

  // Whatever can be done now. False: the connection is over.
  bool step(Connection& c) {
    if (!flush(c)) return false;
    for (int turn = 0; turn < kTurns && c.out.empty() && !c.read_end; ++turn) {
      const auto got = receive_some(c.fd, buffer_);
      if (got == kFailed) return false;
      if (got == kAgain) break;
      if (got == 0) {
        c.read_end = true;
        if (!finish_reading(c)) return false;
      } else if (!take(c, buffer_.data(), static_cast<std::size_t>(got))) {
        return false;
      }
      if (!flush(c)) return false;
      if (static_cast<std::size_t>(got) < buffer_.size()) break;
    }
    if (!produce(c)) return false;
    if (c.read_end && c.out.empty() && (!c.begun || c.write_end)) return false;
    watch(c);
    return true;
  }

  bool take(Connection& c, const char* data, std::size_t size) {
    if (c.request_size < sizeof(Request)) {
      const auto part = std::min(size, sizeof(Request) - c.request_size);
      std::copy_n(data, part, reinterpret_cast<char*>(&c.request) + c.request_size);
      c.request_size += part;
      if (c.request_size < sizeof(Request)) return true;
      if (!std::ranges::equal(c.request.magic, Request{}.magic)) return false;
      c.out.push_back(kAccepted);
      data += part;
      size -= part;
    }
    switch (c.request.mode) {
      case Mode::kEcho: return echo(c, data, size);
      case Mode::kSink: c.intact = c.intact && pattern_.edges_equal(c.moved, data, size); break;
      case Mode::kSinkChecked: c.intact = c.intact && pattern_.equal(c.moved, data, size); break;
      case Mode::kSource: c.begun = c.begun || size > 0; return true;
      default: return false;
    }
    c.moved += size;
    return true;
  }

  static bool echo(Connection& c, const char* data, std::size_t size) {
    if (c.out.empty() && size > 0) {
      const auto sent = send_some(c.fd, data, size);
      if (sent == kFailed) return false;
      if (sent > 0) {
        data += sent;
        size -= static_cast<std::size_t>(sent);
      }
    }
    c.out.append(data, size);
    return true;
  }

  static bool finish_reading(Connection& c) {
    if (c.request_size < sizeof(Request)) return false;
    if (c.request.mode == Mode::kSink || c.request.mode == Mode::kSinkChecked) {
      const SinkReport report{c.moved, c.intact ? 1u : 0u};
      c.out.append(reinterpret_cast<const char*>(&report), sizeof report);
    }
    return true;
  }

  static bool flush(Connection& c) {
    while (!c.out.empty()) {
      const auto sent = send_some(c.fd, c.out.data(), c.out.size());
      if (sent == kFailed) return false;
      if (sent == kAgain) return true;
      c.out.erase(0, static_cast<std::size_t>(sent));
    }
    return true;
  }

  bool produce(Connection& c) {
    if (!c.begun || c.write_end || !c.out.empty()) return true;
    for (int turn = 0; turn < kTurns && c.moved < c.request.size; ++turn) {
      const auto piece = std::min<std::uint64_t>(c.request.size - c.moved, kPieceMax);
      const auto sent = send_some(c.fd, pattern_.at(c.moved), piece);
      if (sent == kFailed) return false;
      if (sent == kAgain) return true;
      c.moved += static_cast<std::uint64_t>(sent);
    }
    if (c.moved == c.request.size) {
      c.write_end = true;
      ::shutdown(c.fd, SHUT_WR);
    }
    return true;
  }

  void watch(Connection& c) {
    const bool sending = c.begun && !c.write_end;
    const std::uint32_t wanted = (c.out.empty() && !c.read_end ? std::uint32_t{EPOLLIN} : 0u) |
                                 (!c.out.empty() || sending ? std::uint32_t{EPOLLOUT} : 0u);
    if (wanted == c.events) return;
    c.events = wanted;
    poller_.change(c.fd, wanted, &c);
  }

  int listener_;
  Poller poller_;
  Pattern pattern_;
  std::vector<char> buffer_;
};

}  // namespace

void serve(const sockaddr_in& address) { Server(address).run(); }

}  // namespace weft::load
