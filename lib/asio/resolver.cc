#include "lib/asio/resolver.h"

#include <ares.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/time.h>

#include <map>

#include "lib/asio/detail/descriptor.h"
#include "lib/async/event.h"

namespace weft::asio {
namespace {

// Per name server and attempt; whoever asks bounds the whole.
constexpr int kTimeoutMs = 1500;
constexpr int kTries = 2;
// A name with more addresses than this is not that of a control plane.
constexpr std::size_t kAddressesMax = 64;

Error explain(int status, const std::string& host) {
  const std::string text = "resolve " + host + ": " + ares_strerror(status);
  switch (status) {
    case ARES_ENOTFOUND:
    case ARES_ENODATA: return Error(ErrorCode::kNotFound, text);
    case ARES_EBADNAME: return Error(ErrorCode::kInvalidArgument, text);
    case ARES_ECANCELLED:
    case ARES_EDESTRUCTION: return Error(ErrorCode::kCancelled, text);
    default: return Error(ErrorCode::kUnavailable, text);
  }
}

// One question. c-ares owns the sockets and says when it wants to read or write them; it is told when they are ready and
// when time has passed.
class Lookup {
 public:
  explicit Lookup(Loop& loop) : loop_(loop), timer_([this] { process(ARES_SOCKET_BAD, ARES_SOCKET_BAD); }), done_(loop) {}
  Lookup(const Lookup&) = delete;
  Lookup& operator=(const Lookup&) = delete;
  ~Lookup() {
    if (channel_) ares_destroy(channel_);
  }

  Result<void> open(const std::string& servers) {
    ares_options options{};
    options.timeout = kTimeoutMs;
    options.tries = kTries;
    options.sock_state_cb = [](void* self, ares_socket_t socket, int readable, int writable) {
      static_cast<Lookup*>(self)->want(socket, readable != 0, writable != 0);
    };
    options.sock_state_cb_data = this;
    int status = ares_init_options(&channel_, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
    if (status == ARES_SUCCESS && !servers.empty()) status = ares_set_servers_ports_csv(channel_, servers.c_str());
    if (status != ARES_SUCCESS)
      return fail(ErrorCode::kUnavailable, std::string("name resolution: ") + ares_strerror(status));
    return {};
  }

  Task<Result<std::vector<IpAddress>>> run(std::string host, StopToken stop) {
    ares_addrinfo_hints hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    const auto answered = [](void* self, int status, int, ares_addrinfo* found) {
      static_cast<Lookup*>(self)->finish(status, found);
    };
    ares_getaddrinfo(channel_, host.c_str(), nullptr, &hints, answered, this);
    schedule();
    StopCallback on_stop(stop, [this] { ares_cancel(channel_); });
    auto finished = co_await done_.wait();
    (void)finished;
    timer_.cancel();
    if (status_ != ARES_SUCCESS) co_return fail(explain(status_, host));
    if (addresses_.empty()) co_return fail(explain(ARES_ENODATA, host));
    co_return std::move(addresses_);
  }

 private:
  struct Socket {
    Socket(Loop& loop, ares_socket_t fd) : descriptor(loop, Fd(fd)) {}
    Descriptor descriptor;
    bool read_wanted = false, write_wanted = false;
    bool reading = false, writing = false;  // a wait is under way
  };

  void want(ares_socket_t fd, bool readable, bool writable) {
    auto found = sockets_.find(fd);
    if (!readable && !writable) {
      if (found == sockets_.end()) return;
      (void)found->second->descriptor.release().release();  // c-ares closes it
      sockets_.erase(found);
      return;
    }
    if (found == sockets_.end()) found = sockets_.emplace(fd, std::make_shared<Socket>(loop_, fd)).first;
    found->second->read_wanted = readable;
    found->second->write_wanted = writable;
    wait(fd, found->second);
  }

  void wait(ares_socket_t fd, const std::shared_ptr<Socket>& socket) {
    // The socket dies with this object and with c-ares' interest; a wait that comes home later finds it gone.
    if (socket->read_wanted && !std::exchange(socket->reading, true)) {
      socket->descriptor.when_ready(Descriptor::kRead, [this, fd, weak = std::weak_ptr(socket)] {
        auto alive = weak.lock();
        if (!alive) return;
        alive->reading = false;
        if (alive->read_wanted) process(fd, ARES_SOCKET_BAD);
        again(fd);
      });
    }
    if (socket->write_wanted && !std::exchange(socket->writing, true)) {
      socket->descriptor.when_ready(Descriptor::kWrite, [this, fd, weak = std::weak_ptr(socket)] {
        auto alive = weak.lock();
        if (!alive) return;
        alive->writing = false;
        if (alive->write_wanted) process(ARES_SOCKET_BAD, fd);
        again(fd);
      });
    }
  }

  void again(ares_socket_t fd) {
    const auto found = sockets_.find(fd);
    if (found != sockets_.end()) wait(fd, found->second);
  }

  void process(ares_socket_t readable, ares_socket_t writable) {
    ares_process_fd(channel_, readable, writable);
    schedule();
  }

  void schedule() {
    timeval storage;
    const timeval* next = ares_timeout(channel_, nullptr, &storage);
    timer_.cancel();
    if (next) loop_.arm(timer_, loop_.now() + std::chrono::seconds(next->tv_sec) + std::chrono::microseconds(next->tv_usec));
  }

  void finish(int status, ares_addrinfo* found) {
    status_ = status;
    if (found) {
      for (const auto* node = found->nodes; node && addresses_.size() < kAddressesMax; node = node->ai_next) {
        auto address = SocketAddress::from_sockaddr(node->ai_addr, static_cast<socklen_t>(node->ai_addrlen));
        if (address) addresses_.push_back(address->ip());
      }
      ares_freeaddrinfo(found);
    }
    done_.set();
  }

  Loop& loop_;
  ares_channel channel_ = nullptr;
  std::map<ares_socket_t, std::shared_ptr<Socket>> sockets_;
  Timer timer_;
  Event done_;
  int status_ = ARES_SUCCESS;
  std::vector<IpAddress> addresses_;
};

}  // namespace

Resolver::Resolver(Loop& loop, std::string servers) : loop_(loop), servers_(std::move(servers)) {
  ares_library_init(ARES_LIB_INIT_ALL);
}

Resolver::~Resolver() { ares_library_cleanup(); }

Task<Result<std::vector<IpAddress>>> Resolver::resolve(std::string host, StopToken stop) {
  if (stop.stop_requested()) co_return fail(ErrorCode::kCancelled, "resolve " + host + ": cancelled");
  Lookup lookup(loop_);
  auto opened = lookup.open(servers_);
  if (!opened) co_return fail(std::move(opened).error());
  auto addresses = co_await lookup.run(std::move(host), std::move(stop));
  co_return addresses;
}

}  // namespace weft::asio
