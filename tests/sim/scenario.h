// One run: a mesh, traffic and faults, all drawn from a seed; then calm, in which everything must work again; then the end.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace weft::simulation {

struct Outcome {
  std::string failure;      // empty: none
  std::uint64_t trace = 0;  // digest of every choice and outcome
  std::uint64_t steps = 0;
  std::uint64_t calls = 0, complete = 0;  // of applications
  std::uint64_t bytes = 0;                // that arrived at applications
  std::uint64_t faults = 0;
};

// `follow` is told every event, if there is one. After a failure the run is abandoned where it is: its objects stay.
Outcome run_seed(std::uint64_t seed, const std::function<void(const std::string&)>& follow = {});

}  // namespace weft::simulation
