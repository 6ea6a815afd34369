// Runs seeds of the whole-program simulation. Each job is a process of its own, so that a seed that ends the process counts
// as a failure like any other and the run goes on behind it. See tools/sim.
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "lib/base/log.h"
#include "tests/sim/scenario.h"

using namespace weft;

namespace {

constexpr const char* kHelp =
    "usage: sim [--first SEED] [--seeds N] [--until-failure]\n"
    "       sim --replay SEED [--log FILTER]\n"
    "\n"
    "  --first SEED      the first seed [1]\n"
    "  --seeds N         how many [200]\n"
    "  --until-failure   end at the first failure\n"
    "  --replay SEED     run one seed and print what happens, with virtual time\n"
    "  --log FILTER      what the programs log meanwhile, as RUST_LOG [info]\n";

struct Arguments {
  std::uint64_t first = 1, seeds = 200;
  bool until_failure = false, replay = false;
  std::string log = "info";
};

std::uint64_t number(const char* text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), value);
  if (error != std::errc() || *end != '\0') {
    std::fprintf(stderr, "not a number: %s\n", text);
    std::exit(64);
  }
  return value;
}

Arguments read_arguments(int count, char** words) {
  Arguments arguments;
  for (int i = 1; i < count; ++i) {
    const std::string_view word = words[i];
    if (word == "--help" || word == "-h") {
      std::fputs(kHelp, stdout);
      std::exit(0);
    }
    if (word == "--until-failure") {
      arguments.until_failure = true;
      continue;
    }
    if (i + 1 >= count || (word != "--first" && word != "--seeds" && word != "--replay" && word != "--log")) {
      std::fputs(kHelp, stderr);
      std::exit(64);
    }
    const char* value = words[++i];
    if (word == "--log")
      arguments.log = value;
    else if (word == "--seeds")
      arguments.seeds = number(value);
    else
      arguments.first = number(value);
    if (word == "--replay") arguments.replay = true;
  }
  return arguments;
}

int replay(const Arguments& arguments) {
  log::init(log::Format::kPlain, arguments.log);
  const auto outcome = simulation::run_seed(arguments.first, [](const std::string& line) {
    log::flush();
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
  });
  log::flush();
  std::printf("seed %lu: %s\n  %lu steps, %lu calls of which %lu complete, %lu bytes, %lu faults, trace %016lx\n",
              arguments.first, outcome.failure.empty() ? "ok" : outcome.failure.c_str(), outcome.steps, outcome.calls,
              outcome.complete, outcome.bytes, outcome.faults, outcome.trace);
  std::fflush(stdout);
  std::_Exit(outcome.failure.empty() ? 0 : 1);
}

struct Totals {
  std::uint64_t failures = 0, steps = 0, calls = 0, complete = 0, bytes = 0, faults = 0;
};

// The worker: one line a seed into `out`, ends at the first failure.
[[noreturn]] void work(std::uint64_t first, std::uint64_t end, int out) {
  log::init(log::Format::kPlain, "off");
  for (std::uint64_t seed = first; seed < end; ++seed) {
    const auto outcome = simulation::run_seed(seed);
    std::string line = fmt::format("{} {} {} {} {} {}\n", outcome.steps, outcome.calls, outcome.complete, outcome.bytes,
                                   outcome.faults, outcome.failure);
    if (::write(out, line.data(), line.size()) < 0) std::_Exit(2);
    if (!outcome.failure.empty()) std::_Exit(1);
  }
  std::_Exit(0);
}

void add(Totals& totals, std::uint64_t seed, const std::string& line) {
  Totals one;
  int used = 0;
  std::sscanf(line.c_str(), "%lu %lu %lu %lu %lu %n", &one.steps, &one.calls, &one.complete, &one.bytes, &one.faults, &used);
  totals.steps += one.steps;
  totals.calls += one.calls;
  totals.complete += one.complete;
  totals.bytes += one.bytes;
  totals.faults += one.faults;
  const std::string failure = line.substr(static_cast<std::size_t>(used));
  if (failure.empty()) return;
  ++totals.failures;
  std::printf("seed %lu FAILED: %s\n", seed, failure.c_str());
  std::fflush(stdout);
}

int run_range(const Arguments& arguments) {
  const std::uint64_t end = arguments.first + arguments.seeds;
  Totals totals;
  std::uint64_t seed = arguments.first;
  while (seed < end && !(arguments.until_failure && totals.failures > 0)) {
    int ends[2];
    if (::pipe(ends) != 0) return 2;
    const pid_t child = ::fork();
    if (child < 0) return 2;
    if (child == 0) {
      ::close(ends[0]);
      work(seed, end, ends[1]);
    }
    ::close(ends[1]);
    FILE* lines = ::fdopen(ends[0], "r");
    char* text = nullptr;
    std::size_t room = 0;
    const auto failures_before = totals.failures;
    for (ssize_t size = 0; (size = ::getline(&text, &room, lines)) > 0; ++seed) {
      add(totals, seed, std::string(text, static_cast<std::size_t>(size) - 1));
    }
    std::free(text);
    std::fclose(lines);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (totals.failures != failures_before || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) continue;
    add(totals, seed,
        fmt::format("0 0 0 0 0 the process ended by {} {}", WIFSIGNALED(status) ? "signal" : "exit",
                    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)));
    ++seed;
  }
  std::printf("%lu steps, %lu calls of which %lu complete, %lu bytes, %lu faults\n", totals.steps, totals.calls,
              totals.complete, totals.bytes, totals.faults);
  std::printf("%lu seeds, %lu failures\n", seed - arguments.first, totals.failures);
  return totals.failures == 0 ? 0 : 1;
}

}  // namespace

int main(int count, char** words) {
  const auto arguments = read_arguments(count, words);
  return arguments.replay ? replay(arguments) : run_range(arguments);
}
