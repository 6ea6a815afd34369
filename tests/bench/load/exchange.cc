// Small messages: round trips, short connections, idle connections.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <vector>

#include "tests/bench/load/client.h"
#include "tests/bench/load/latency.h"
#include "tests/bench/load/pattern.h"
#include "tests/bench/load/socket.h"

namespace weft::load {
namespace {

constexpr int kPollMs = 500;       // how often the limit is looked at when nothing happens
constexpr int kPacedPollMs = 1;    // the clock of what is paced
constexpr int kWarmUpRounds = 20;  // per connection, before the clock starts
constexpr double kGraceS = 10;     // for work that has begun when the limit is reached

struct Caller {
  int fd = -1;
  std::uint64_t begin = 0;
  std::uint64_t due = 0;  // when paced
  std::size_t received = 0;
  bool connecting = false;
  bool waits = false;  // for its due time
  bool usable = true;
};

std::vector<Caller> open_echoes(const Job& job) {
  std::vector<Caller> callers(job.connections);
  for (auto& caller : callers) caller.fd = open_path(job.server, {.mode = Mode::kEcho});
  return callers;
}

bool exchange_once(int fd, const char* message, std::vector<char>& buffer, std::size_t size) {
  return send_all(fd, message, size) && receive_all(fd, buffer.data(), size) &&
         std::memcmp(message, buffer.data(), size) == 0;
}

std::string ready(std::size_t open, std::size_t errors) {
  return R"({"state":"ready","open":)" + std::to_string(open) + R"(,"errors":)" + std::to_string(errors) + "}";
}

std::string done(Latencies& latencies, double seconds, std::size_t errors) {
  char text[160];
  std::snprintf(text, sizeof text, R"({"state":"done","count":%zu,"errors":%zu,"seconds":%.6f,"per_second":%.2f,)",
                latencies.count(), errors, seconds, static_cast<double>(latencies.count()) / seconds);
  return text + latencies.describe() + "}";
}

// When work begins: at `rate`, or as soon as what was before has ended, until `count` or `limit_s` is reached. `start`
// begins a caller's work if take_turn() lets it.
class Pacing {
 public:
  explicit Pacing(const Job& job)
      : job_(job),
        pause_(job.rate > 0 ? static_cast<std::uint64_t>(1e9 / job.rate * static_cast<double>(job.connections)) : 0),
        begin_(now_ns()) {}

  double seconds() const { return static_cast<double>(now_ns() - begin_) / 1e9; }
  int poll_ms() const { return pause_ > 0 ? kPacedPollMs : kPollMs; }
  bool goes_on(std::size_t active, std::size_t errors) const {
    return (active > 0 || (pause_ > 0 && errors == 0 && may_begin())) && seconds() < job_.limit_s + kGraceS;
  }

  bool take_turn(Caller& caller) {
    if (!may_begin()) return false;
    const auto now = now_ns();
    caller.waits = now < caller.due;
    if (caller.waits) return false;
    ++started_;
    caller.begin = now;
    return true;
  }
  void begin_all(std::vector<Caller>& callers, const auto& start) const {
    auto due = pause_ > 0 ? begin_ : 0;
    for (auto& caller : callers) {
      caller.due = due;
      due += pause_ / job_.connections;
      start(caller);
    }
  }
  // Its work has ended. What should have begun meanwhile began when it was due.
  void begin_next(Caller& caller, const auto& start) const {
    const bool late = pause_ > 0 && (caller.due += pause_) < now_ns();
    start(caller);
    if (late) caller.begin = caller.due;
  }
  void begin_due(std::vector<Caller>& callers, const auto& start) const {
    for (auto& caller : callers) {
      if (caller.waits) start(caller);
    }
  }

 private:
  bool may_begin() const { return started_ < job_.count && seconds() <= job_.limit_s; }

  const Job& job_;
  const std::uint64_t pause_;  // between two of one caller, in nanoseconds; 0 when nothing is paced
  const std::uint64_t begin_;
  std::uint64_t started_ = 0;
};

}  // namespace

int ping(const Job& job) {
  const Pattern pattern;
  const char* message = pattern.at(0);
  std::vector<char> buffer(kPieceMax);
  Poller poller;
  auto callers = open_echoes(job);
  std::size_t errors = 0;
  for (auto& caller : callers) {
    bool good = caller.fd >= 0;
    for (int i = 0; good && i < kWarmUpRounds; ++i) good = exchange_once(caller.fd, message, buffer, job.size);
    errors += !good;
    caller.usable = good;
    if (good) poller.add(caller.fd, EPOLLIN, &caller);
  }
  job.report_and_wait(ready(job.connections - errors, errors));

  Latencies latencies(job.count);
  std::size_t active = 0;
  Pacing pacing(job);
  const auto start = [&](Caller& caller) {
    if (!caller.usable || !pacing.take_turn(caller)) return;
    caller.received = 0;
    if (send_some(caller.fd, message, job.size) == static_cast<std::ptrdiff_t>(job.size))
      ++active;
    else
      ++errors;
  };
  pacing.begin_all(callers, start);
  while (pacing.goes_on(active, errors)) {
    for (const auto& event : poller.wait(pacing.poll_ms())) {
      auto& caller = *static_cast<Caller*>(event.data.ptr);
      const auto got = receive_some(caller.fd, buffer);
      if (got == kAgain) continue;
      const auto size = static_cast<std::size_t>(got);
      if (got <= 0 || caller.received + size > job.size ||
          std::memcmp(message + caller.received, buffer.data(), size) != 0) {
        poller.remove(caller.fd);
        ++errors;
        --active;
        continue;
      }
      caller.received += size;
      if (caller.received < job.size) continue;
      latencies.add(now_ns() - caller.begin);
      --active;
      pacing.begin_next(caller, start);
    }
    pacing.begin_due(callers, start);
  }
  errors += active;
  job.report_and_wait(done(latencies, pacing.seconds(), errors));
  for (const auto& caller : callers) {
    if (caller.fd >= 0) ::close(caller.fd);
  }
  return errors ? 2 : 0;
}

int churn(const Job& job) {
  // The request and the message leave together; the answer is the acceptance and the message.
  const Pattern pattern;
  const Request request{.mode = Mode::kEcho};
  std::vector<char> outgoing(sizeof request + job.size), expected(1 + job.size, kAccepted), buffer(kPieceMax);
  std::memcpy(outgoing.data(), &request, sizeof request);
  std::memcpy(outgoing.data() + sizeof request, pattern.at(0), job.size);
  std::memcpy(expected.data() + 1, pattern.at(0), job.size);

  // One connection first, so that what lasts longer than a connection exists when the clock starts.
  const int first = open_path(job.server, request);
  job.report_and_wait(ready(first >= 0, first < 0));

  Poller poller;
  Latencies latencies(job.count);
  std::vector<Caller> callers(job.connections);
  std::size_t errors = first < 0, active = 0;
  Pacing pacing(job);
  const auto start = [&](Caller& caller) {
    if (!pacing.take_turn(caller)) return;
    caller.received = 0;
    caller.connecting = true;
    caller.fd = begin_connect(job.server);
    if (caller.fd < 0) {
      ++errors;
      return;
    }
    ++active;
    poller.add(caller.fd, EPOLLOUT, &caller);
  };
  const auto finish = [&](Caller& caller, bool good) {
    ::close(caller.fd);
    --active;
    if (good)
      latencies.add(now_ns() - caller.begin);
    else
      ++errors;
    pacing.begin_next(caller, start);
  };
  pacing.begin_all(callers, start);
  while (pacing.goes_on(active, errors)) {
    for (const auto& event : poller.wait(pacing.poll_ms())) {
      auto& caller = *static_cast<Caller*>(event.data.ptr);
      if (caller.connecting) {
        caller.connecting = false;
        if (send_some(caller.fd, outgoing.data(), outgoing.size()) != static_cast<std::ptrdiff_t>(outgoing.size())) {
          finish(caller, false);
        } else {
          poller.change(caller.fd, EPOLLIN, &caller);
        }
        continue;
      }
      const auto got = receive_some(caller.fd, buffer);
      if (got == kAgain) continue;
      const auto size = static_cast<std::size_t>(got);
      if (got <= 0 || caller.received + size > expected.size() ||
          std::memcmp(expected.data() + caller.received, buffer.data(), size) != 0) {
        finish(caller, false);
        continue;
      }
      caller.received += size;
      if (caller.received == expected.size()) finish(caller, true);
    }
    pacing.begin_due(callers, start);
  }
  errors += active;
  job.report_and_wait(done(latencies, pacing.seconds(), errors));
  if (first >= 0) ::close(first);
  return errors ? 2 : 0;
}

int idle(const Job& job) {
  std::vector<char> buffer(kPieceMax);
  const Pattern pattern;
  auto callers = open_echoes(job);
  const auto open = static_cast<std::size_t>(std::ranges::count_if(callers, [](const Caller& c) { return c.fd >= 0; }));
  job.report_and_wait(ready(open, job.connections - open));
  std::size_t dead = 0;
  for (const auto& caller : callers) {
    dead += caller.fd >= 0 && !exchange_once(caller.fd, pattern.at(0), buffer, job.size);
  }
  const auto errors = job.connections - open + dead;
  job.report_and_wait(R"({"state":"done","errors":)" + std::to_string(errors) + R"(,"dead":)" + std::to_string(dead) + "}");
  for (const auto& caller : callers) {
    if (caller.fd >= 0) ::close(caller.fd);
  }
  return errors ? 2 : 0;
}

}  // namespace weft::load
