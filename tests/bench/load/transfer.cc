// Bulk transfers.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <vector>

#include "tests/bench/load/client.h"
#include "tests/bench/load/pattern.h"
#include "tests/bench/load/socket.h"

namespace weft::load {
namespace {

constexpr int kTurns = 4;                // pieces of one connection before the others get their turn
constexpr int kPollMs = 500;             // how often the limit is looked at when nothing happens
constexpr std::size_t kOddMax = 60'000;  // longest write of check(): several TLS records and frames

struct Transfer {
  int fd = -1;
  std::uint64_t moved = 0;
  SinkReport report;
  std::size_t report_size = 0;
  bool failed = false;
};

class Clock {
 public:
  explicit Clock(double limit_s) : limit_s_(limit_s) {}
  double seconds() const { return static_cast<double>(now_ns() - begin_) / 1e9; }
  bool expired() const { return seconds() > limit_s_; }

 private:
  std::uint64_t begin_ = now_ns();
  double limit_s_;
};

// Opens all paths and says so.
std::vector<Transfer> open_all(const Job& job, Mode mode, std::uint64_t each) {
  std::vector<Transfer> transfers(job.connections);
  std::size_t open = 0;
  for (auto& transfer : transfers) {
    transfer.fd = open_path(job.server, {.mode = mode, .size = each});
    open += transfer.fd >= 0;
  }
  job.report_and_wait(R"({"state":"ready","open":)" + std::to_string(open) + "}");
  return transfers;
}

int report(const Job& job, std::vector<Transfer>& transfers, std::uint64_t each, double seconds) {
  std::uint64_t bytes = 0;
  std::size_t errors = 0;
  for (const auto& transfer : transfers) {
    bytes += transfer.moved;
    errors += transfer.fd < 0 || transfer.failed || transfer.moved != each;
  }
  char text[200];
  std::snprintf(text, sizeof text, R"({"state":"done","bytes":%llu,"seconds":%.6f,"gbps":%.4f,"errors":%zu})",
                static_cast<unsigned long long>(bytes), seconds, static_cast<double>(bytes) * 8 / seconds / 1e9, errors);
  job.report_and_wait(text);
  for (const auto& transfer : transfers) {
    if (transfer.fd >= 0) ::close(transfer.fd);
  }
  return errors ? 2 : 0;
}

// Runs `step` for every connection that is ready until it says, for each, that it is finished.
template <typename Step>
void run_all(std::vector<Transfer>& transfers, std::uint32_t events, double limit_s, Step step) {
  Poller poller;
  std::size_t running = 0;
  for (auto& transfer : transfers) {
    if (transfer.fd < 0) continue;
    poller.add(transfer.fd, events, &transfer);
    ++running;
  }
  const Clock clock(limit_s);
  while (running > 0 && !clock.expired()) {
    for (const auto& event : poller.wait(kPollMs)) {
      auto& transfer = *static_cast<Transfer*>(event.data.ptr);
      if (step(poller, transfer)) {
        poller.remove(transfer.fd);
        --running;
      }
    }
  }
}

}  // namespace

int send_up(const Job& job) {
  const Pattern pattern;
  const auto each = job.bytes / job.connections;
  auto transfers = open_all(job, Mode::kSink, each);
  const Clock clock(job.limit_s);
  run_all(transfers, EPOLLOUT, job.limit_s, [&](Poller& poller, Transfer& t) {
    for (int turn = 0; turn < kTurns && t.moved < each; ++turn) {
      const auto sent = send_some(t.fd, pattern.at(t.moved), std::min<std::uint64_t>(each - t.moved, kPieceMax));
      if (sent == kFailed) return t.failed = true;
      if (sent == kAgain) return false;
      t.moved += static_cast<std::uint64_t>(sent);
      if (t.moved == each) {
        ::shutdown(t.fd, SHUT_WR);
        poller.change(t.fd, EPOLLIN, &t);
        return false;
      }
    }
    if (t.moved < each) return false;
    const auto got =
        receive_some(t.fd, {reinterpret_cast<char*>(&t.report) + t.report_size, sizeof t.report - t.report_size});
    if (got == kAgain) return false;
    if (got > 0) t.report_size += static_cast<std::size_t>(got);
    if (got > 0 && t.report_size < sizeof t.report) return false;
    t.failed = t.report_size < sizeof t.report || t.report.received != each || t.report.intact != 1;
    return true;
  });
  const double seconds = clock.seconds();
  for (auto& transfer : transfers) transfer.failed = transfer.failed || transfer.report_size < sizeof transfer.report;
  return report(job, transfers, each, seconds);
}

int fetch_down(const Job& job) {
  const Pattern pattern;
  const auto each = job.bytes / job.connections;
  auto transfers = open_all(job, Mode::kSource, each);
  const Clock clock(job.limit_s);
  for (auto& transfer : transfers) transfer.failed = transfer.fd >= 0 && !send_all(transfer.fd, "g", 1);
  std::vector<char> buffer(kPieceMax);
  run_all(transfers, EPOLLIN, job.limit_s, [&](Poller&, Transfer& t) {
    for (int turn = 0; turn < kTurns && !t.failed; ++turn) {
      const auto got = receive_some(t.fd, buffer);
      if (got == kAgain) return false;
      if (got == 0) return true;
      if (got == kFailed || !pattern.edges_equal(t.moved, buffer.data(), static_cast<std::size_t>(got))) {
        return t.failed = true;
      }
      t.moved += static_cast<std::uint64_t>(got);
    }
    return t.failed;
  });
  return report(job, transfers, each, clock.seconds());
}

int check(const Job& job) {
  const Pattern pattern;
  std::vector<Transfer> transfers(1);
  auto& t = transfers.front();
  t.fd = open_path(job.server, {.mode = Mode::kEcho});
  job.report_and_wait(R"({"state":"ready","open":)" + std::to_string(t.fd >= 0) + "}");
  const Clock clock(job.limit_s);
  std::vector<char> buffer(kPieceMax);
  std::uint64_t sent_total = 0;
  bool finished = false;
  run_all(transfers, EPOLLIN | EPOLLOUT, job.limit_s, [&](Poller& poller, Transfer&) {
    if (sent_total < job.bytes) {
      // Sizes from one byte up; multiplying by a prime walks through all of them.
      const auto odd = 1 + (sent_total * 2'654'435'761u >> 7) % kOddMax;
      const auto sent = send_some(t.fd, pattern.at(sent_total), std::min<std::uint64_t>(job.bytes - sent_total, odd));
      if (sent == kFailed) return t.failed = true;
      if (sent > 0) sent_total += static_cast<std::uint64_t>(sent);
    } else if (!finished) {
      finished = true;
      ::shutdown(t.fd, SHUT_WR);
      poller.change(t.fd, EPOLLIN, &t);
    }
    const auto got = receive_some(t.fd, buffer);
    if (got == kAgain) return false;
    if (got == 0) return true;
    if (got == kFailed || !pattern.equal(t.moved, buffer.data(), static_cast<std::size_t>(got))) return t.failed = true;
    t.moved += static_cast<std::uint64_t>(got);
    return false;
  });
  t.failed = t.failed || !finished;
  return report(job, transfers, job.bytes, clock.seconds());
}

}  // namespace weft::load
