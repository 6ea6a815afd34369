#include "tests/support/sim/network.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <deque>

#include "lib/base/check.h"
#include "tests/support/sim/detail/endpoint.h"

namespace weft::sim {

namespace detail {

class SimListener final : public io::Listener {
 public:
  SimListener(Internet& internet, Host& host, Loop& loop, SocketAddress address, const io::ListenOptions& options)
      : internet_(internet), host_(host), loop_(loop), address_(address), options_(options), ready_(loop) {
    host_.listeners_.emplace(address_.port(), this);
    ++internet_.open_sockets_;
  }
  ~SimListener() override {
    close();
    --internet_.open_sockets_;
  }

  Task<Result<io::Accepted>> accept(StopToken stop) override {
    auto ready = co_await ready_.wait(stop);
    if (stop.stop_requested() || !ready || queue_.empty()) co_return fail(ErrorCode::kCancelled, "listener closed");
    auto accepted = std::move(queue_.front());
    queue_.pop_front();
    if (queue_.empty() && !closed_) ready_.reset();
    co_return std::move(accepted);
  }

  void close() override {
    finish();
    for (auto& waiting : queue_) waiting.stream->abort(io::AbortReason::kReset);
    queue_.clear();
  }
  void yield_port() override { yielding_ = true; }
  void finish() override {
    if (std::exchange(closed_, true)) return;
    for (auto at = host_.listeners_.begin(); at != host_.listeners_.end(); ++at) {
      if (at->second != this) continue;
      host_.listeners_.erase(at);
      break;
    }
    ready_.set();
  }

  SocketAddress address() const override { return address_; }
  Result<void> set_transparent() override { return {}; }

  bool matches(const SocketAddress& destination) const {
    if (address_.ip() == destination.ip()) return true;
    return address_.ip().is_unspecified() && (address_.ip().is_v6() || destination.ip().is_v4());
  }
  // The kernel's queue holds one more than asked for.
  bool full() const { return queue_.size() > static_cast<std::size_t>(options_.backlog); }
  bool yielding() const { return yielding_; }
  io::PortSharing sharing() const { return options_.sharing; }
  bool wants_original_destination() const { return options_.want_original_destination; }
  Loop& loop() { return loop_; }
  void deliver(io::Accepted accepted) {
    queue_.push_back(std::move(accepted));
    ready_.set();
  }

 private:
  Internet& internet_;
  Host& host_;
  Loop& loop_;
  SocketAddress address_;
  io::ListenOptions options_;
  Event ready_;
  std::deque<io::Accepted> queue_;
  bool closed_ = false;
  bool yielding_ = false;
};

namespace {

class SimNetwork final : public io::Network {
 public:
  SimNetwork(Internet& internet, Host& host, Loop& loop) : internet_(internet), host_(host), loop_(loop) {}
  Task<Result<io::StreamPtr>> connect(SocketAddress address, io::ConnectOptions options, StopToken stop) override {
    return internet_.connect(host_, loop_, address, std::move(options), std::move(stop));
  }
  Result<io::ListenerPtr> listen(SocketAddress address, const io::ListenOptions& options) override {
    return internet_.listen(host_, loop_, address, options);
  }

 private:
  Internet& internet_;
  Host& host_;
  Loop& loop_;
};

class SimNetworks final : public io::NetworkFactory {
 public:
  SimNetworks(Internet& internet, Host& host, Loop& loop) : internet_(internet), host_(host), loop_(loop) {}
  io::NetworkPtr own() override { return std::make_unique<SimNetwork>(internet_, host_, loop_); }
  Result<io::NetworkPtr> in_namespace(const Fd& netns) override {
    Host* host = internet_.host_behind(netns);
    if (!host) return fail(ErrorCode::kInvalidArgument, "not a network namespace");
    return std::make_unique<SimNetwork>(internet_, *host, loop_);
  }

 private:
  Internet& internet_;
  Host& host_;
  Loop& loop_;
};

std::uint64_t inode_of(const Fd& fd) {
  struct stat status{};
  return ::fstat(fd.get(), &status) == 0 ? status.st_ino : 0;
}

}  // namespace
}  // namespace detail

struct Internet::Route {
  Host* host = nullptr;
  detail::SimListener* listener = nullptr;  // null: nobody listens
  SocketAddress local;
};

Host& Internet::make_host(const std::string& name, const std::vector<IpAddress>& addresses) {
  hosts_.push_back(std::make_unique<Host>(*this, name));
  for (const auto& address : addresses) hosts_.back()->add_address(address);
  return *hosts_.back();
}

Fd Internet::namespace_of(Host& host) {
  Fd fd(::memfd_create(host.name().c_str(), MFD_CLOEXEC));
  WEFT_CHECK(static_cast<bool>(fd));
  namespaces_[detail::inode_of(fd)] = &host;
  return fd;
}

std::unique_ptr<io::NetworkFactory> Internet::networks(Host& host, Loop& loop) {
  return std::make_unique<detail::SimNetworks>(*this, host, loop);
}

Host* Internet::host_behind(const Fd& netns) {
  const auto found = namespaces_.find(detail::inode_of(netns));
  return found == namespaces_.end() ? nullptr : found->second;
}

Host* Internet::host_with(const IpAddress& address) {
  for (auto& host : hosts_) {
    if (!address.is_loopback() && host->has(address)) return host.get();
  }
  return nullptr;
}

void Internet::end_sockets_of(const std::vector<SimLoop*>& loops) {
  const auto theirs = [&](const Loop& loop) {
    return std::any_of(loops.begin(), loops.end(), [&](const SimLoop* one) { return one == &loop; });
  };
  for (auto& host : hosts_) {
    std::vector<detail::SimListener*> closing;
    for (auto& [port, listener] : host->listeners_) {
      if (theirs(listener->loop())) closing.push_back(listener);
    }
    for (auto* listener : closing) listener->close();
  }
  for (auto& weak : endpoints_) {
    auto endpoint = weak.lock();
    if (endpoint && theirs(endpoint->loop)) endpoint->process_ended();
  }
}

std::size_t Internet::connections_to(std::uint16_t port) const {
  std::set<std::uint64_t> found;
  for (const auto& weak : endpoints_) {
    auto endpoint = weak.lock();
    if (endpoint && !endpoint->closed && endpoint->port == port) found.insert(endpoint->connection);
  }
  return found.size();
}

void Internet::reset_connections_of(const Host& host) {
  for (auto& weak : endpoints_) {
    auto endpoint = weak.lock();
    if (!endpoint || &endpoint->host != &host) continue;
    endpoint->send_rst();
    endpoint->receive_rst();
  }
}

Duration Internet::latency() {
  const auto spread = static_cast<std::uint64_t>((faults_.latency_max - faults_.latency_min).count());
  return faults_.latency_min + Duration(world_.random().below(spread + 1));
}

bool Internet::chance(double probability) { return probability > 0 && world_.random().unit() < probability; }

Result<Internet::Route> Internet::route(Host& from, const SocketAddress& source, const SocketAddress& address,
                                        std::uint32_t mark) {
  SocketAddress destination = address;
  Route found;
  const Flow flow{.source = source, .destination = address, .mark = mark};
  if (auto port = from.output_ ? from.output_(flow) : std::nullopt) {
    found.host = &from;
    destination = SocketAddress(IpAddress::loopback(address.ip().is_v6()), *port);
  } else if (from.has(address.ip())) {
    found.host = &from;
  } else {
    found.host = from.unplugged_ ? nullptr : host_with(address.ip());
    if (!found.host) return fail(ErrorCode::kUnreachable, "connect " + address.to_string() + ": no route to host");
    auto redirected = found.host->input_ ? found.host->input_(flow) : std::nullopt;
    if (redirected) destination = SocketAddress(address.ip(), *redirected);
  }
  found.local = destination;
  std::vector<detail::SimListener*> candidates;
  const auto [first, last] = found.host->listeners_.equal_range(destination.port());
  for (auto at = first; at != last; ++at) {
    if (at->second->matches(destination)) candidates.push_back(at->second);
  }
  const auto stays = [](const detail::SimListener* listener) { return !listener->yielding(); };
  if (std::ranges::any_of(candidates, stays))
    std::erase_if(candidates, [&](const auto* listener) { return !stays(listener); });
  if (!candidates.empty()) found.listener = candidates[world_.random().below(candidates.size())];
  return found;
}

Task<Result<io::StreamPtr>> Internet::connect(Host& from, Loop& loop, SocketAddress address, io::ConnectOptions options,
                                              StopToken stop) {
  const std::string name = "connect " + address.to_string();
  if (stop.stop_requested() || killed(loop)) co_return fail(ErrorCode::kCancelled, name + ": cancelled");
  if (chance(faults_.no_sockets)) co_return fail(ErrorCode::kLimit, name + ": Too many open files");
  SocketAddress source(IpAddress::loopback(address.ip().is_v6()), next_port_++);
  if (next_port_ == 0) next_port_ = 40'000;
  if (!address.ip().is_loopback()) {
    for (const auto& own : from.addresses_) {
      if (own.is_v6() == address.ip().is_v6()) source = SocketAddress(own, source.port());
    }
  }
  if (options.spoofed_source) source = SocketAddress(*options.spoofed_source, source.port());

  auto client = std::make_shared<detail::Endpoint>(*this, loop, from);
  std::optional<Result<void>> answer;
  Event answered(loop);
  bool abandoned = false;
  // The handshake's packets share a cell with this frame, which may end before they arrive.
  struct Cell {
    std::optional<Result<void>>* answer;
    Event* answered;
  };
  auto cell = std::make_shared<Cell>(Cell{&answer, &answered});
  const auto reply = [this, cell](Result<void> result) {
    world_.after(latency(), [cell, result = std::move(result)] {
      if (!cell->answer) return;
      *cell->answer = result;
      cell->answered->set();
    });
  };
  Host* origin = &from;
  world_.after(latency(), [this, origin, source, address, client, reply, cell, name, mark = options.mark] {
    if (killed(client->loop)) return;
    auto found = route(*origin, source, address, mark);
    if (!found) return reply(fail(std::move(found).error()));
    if (chance(faults_.hang)) return;
    if (!found->listener || chance(faults_.refuse)) return reply(fail(ErrorCode::kRefused, name + ": connection refused"));
    if (found->listener->full() || !cell->answer) return;  // the SYN is dropped; an abandoned connect sends none again
    auto server = std::make_shared<detail::Endpoint>(*this, found->listener->loop(), *found->host);
    client->peer = server;
    server->peer = client;
    client->client = true;
    for (auto* end : {client.get(), server.get()}) {
      end->connection = connections_ + 1;
      end->dialled_by = source;
      end->dialled = address;
      end->port = found->local.port();
    }
    ++connections_;
    client->tell(BufferChain());
    std::erase_if(endpoints_, [](const auto& weak) { return weak.expired(); });
    endpoints_.push_back(client);
    endpoints_.push_back(server);
    io::Accepted accepted;
    accepted.stream = detail::make_stream(server);
    accepted.peer = source;
    accepted.local = found->local;
    accepted.original_destination = found->listener->wants_original_destination() ? address : found->local;
    found->listener->deliver(std::move(accepted));
    reply({});
  });

  auto woken = co_await answered.wait(stop);
  cell->answer = nullptr;
  cell->answered = nullptr;
  abandoned = !woken;
  if (abandoned) {
    client->close(true);
    co_return fail(ErrorCode::kCancelled, name + ": cancelled");
  }
  if (!*answer) co_return fail(std::move(answer->error()));
  co_return detail::make_stream(std::move(client));
}

namespace {
bool joins(io::PortSharing sharing) { return sharing == io::PortSharing::kShared || sharing == io::PortSharing::kJoin; }
}  // namespace

Result<io::ListenerPtr> Internet::listen(Host& host, Loop& loop, SocketAddress address, const io::ListenOptions& options) {
  if (killed(loop)) return fail(ErrorCode::kCancelled, "bind " + address.to_string() + ": the process was killed");
  if (chance(faults_.no_sockets)) return fail(ErrorCode::kLimit, "socket: Too many open files");
  if (!address.ip().is_unspecified() && !host.has(address.ip())) {
    return fail(ErrorCode::kInvalidArgument, "bind " + address.to_string() + ": cannot assign requested address");
  }
  if (address.port() == 0) address = SocketAddress(address.ip(), next_port_++);
  const auto [first, last] = host.listeners_.equal_range(address.port());
  for (auto at = first; at != last; ++at) {
    const bool same = at->second->matches(address) || at->second->address().ip().is_unspecified();
    if (same && !(joins(options.sharing) && at->second->sharing() != io::PortSharing::kAlone)) {
      return fail(ErrorCode::kAddressInUse, "bind " + address.to_string() + ": address already in use");
    }
  }
  return std::make_unique<detail::SimListener>(*this, host, loop, address, options);
}

}  // namespace weft::sim
