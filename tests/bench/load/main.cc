// The load generator of tools/bench: bounded TCP work, counted and checked at both ends.
//
//   load serve IP PORT
//   load up|down|check|ping|churn|idle IP PORT [--connections N] [--bytes N] [--size N] [--count N] [--rate N] [--limit
//   SECONDS]
//
// See client.h for what each does and how a run is paced.
#include <sys/resource.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>

#include "tests/bench/load/client.h"
#include "tests/bench/load/pattern.h"
#include "tests/bench/load/server.h"
#include "tests/bench/load/socket.h"

namespace {

using namespace weft::load;

constexpr int kUsage = 64;

[[noreturn]] void usage() {
  std::fprintf(stderr,
               "usage: load serve IP PORT\n"
               "       load up|down|check|ping|churn|idle IP PORT [--connections N] [--bytes N] [--size N] [--count N]\n"
               "            [--rate N] [--limit SECONDS]\n");
  std::exit(kUsage);
}

double number(const char* text) {
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  if (end == text || *end != '\0' || !(value > 0) || value > 1e15) usage();
  return value;
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

void report_and_wait(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
  std::string ignored;
  std::getline(std::cin, ignored);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) usage();
  const std::string mode = argv[1];
  const auto address = parse_address(argv[2], std::atoi(argv[3]));
  raise_descriptor_limit();
  if (mode == "serve" && argc == 4) serve(address);

  const std::map<std::string, int (*)(const Job&)> modes{{"up", send_up}, {"down", fetch_down}, {"check", check},
                                                         {"ping", ping},  {"churn", churn},     {"idle", idle}};
  const auto chosen = modes.find(mode);
  if (chosen == modes.end() || argc % 2 != 0) usage();
  Job job{.server = address};
  job.report_and_wait = report_and_wait;
  for (int i = 4; i < argc; i += 2) {
    const std::string option = argv[i];
    const double value = number(argv[i + 1]);
    if (option == "--connections")
      job.connections = static_cast<std::size_t>(value);
    else if (option == "--bytes")
      job.bytes = static_cast<std::uint64_t>(value);
    else if (option == "--size")
      job.size = static_cast<std::size_t>(value);
    else if (option == "--count")
      job.count = static_cast<std::uint64_t>(value);
    else if (option == "--rate")
      job.rate = value;
    else if (option == "--limit")
      job.limit_s = value;
    else
      usage();
  }
  if (job.connections == 0 || job.bytes < job.connections || job.size == 0 || job.size > kPieceMax) usage();
  return chosen->second(job);
}
