// Would this connection be let in, by which policy and why: the code that enforces, asked without a connection.
//
// weftctl asks it about manifests, a node proxy about what it enforces at this moment. No I/O, no clock, no chance.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "lib/explain/facts.h"

namespace weft::explain {

// Of one line: a token's claims fit many times. A longer one is answered with an error.
inline constexpr std::size_t kQuestionMax = 32 * 1024;
// Of the lines that a node is sent at once.
inline constexpr std::size_t kBatchMax = 64 * 1024;

// One JSON line in, one out, without the line's end (docs/weftctl.md has both). Never fails: what is wrong with the line is
// its answer.
//
// Goes on step by step, so that a thread with other work can do that in between: a step costs what one connection costs,
// and a service takes as many as it has pods, weights counted, kTicketsMax at most.
class Explanation {
 public:
  // `facts` outlives the explanation. The first step is taken here.
  Explanation(const Facts& facts, std::string_view line);
  ~Explanation();

  bool done() const;
  // While not done.
  void step();
  // When done.
  std::string answer() const;

  // A service of more than this weight is asked about in part; a Service of a thousand pods has a thousand.
  static constexpr std::uint64_t kTicketsMax = 4096;

 private:
  class Work;
  std::unique_ptr<Work> work_;
};

// All steps at once.
std::string explain_line(const Facts& facts, std::string_view line);

}  // namespace weft::explain
