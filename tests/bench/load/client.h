// The client side of the load generator. A run has three steps with the caller's word between them, so that whoever measures
// can read its clocks while nothing but the measured work happens:
//
//   open the paths, print {"state":"ready",...}, wait for a line on standard input (or its end)
//   do the work,    print {"state":"done",...},  wait again
//   close the paths
//
// One thread; every run is bounded by a count and by `limit_s`.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <functional>
#include <string>

namespace weft::load {

struct Job {
  sockaddr_in server{};
  std::size_t connections = 1;
  std::uint64_t bytes = 1u << 20;  // all connections of a transfer together
  std::size_t size = 1;            // of one message
  std::uint64_t count = 1;         // round trips or connections, all together
  double rate = 0;                 // round trips or connections a second, all together; 0: each begins when one has ended
  double limit_s = 60;             // after this no new work begins
  std::function<void(const std::string& line)> report_and_wait;
};

// Each returns the program's exit code: 0 when everything came back whole.
int send_up(const Job& job);     // clients write, the server counts and checks
int fetch_down(const Job& job);  // the server writes, clients count and check
int check(const Job& job);       // one echoed transfer, odd write sizes, half close, every byte compared
int ping(const Job& job);        // round trips over open connections, at `rate`: one that has to wait began when it was due
int churn(const Job& job);       // connect, one round trip, close; `connections` at a time, at `rate` at most
int idle(const Job& job);        // hold connections open, then see whether each still answers

}  // namespace weft::load
