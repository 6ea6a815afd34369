#include "ztunnel/explain_page.h"

#include <algorithm>

namespace weft::ztunnel {
namespace {

constexpr const char* kUsage =
    "usage: POST /explain    a JSON question a line, for example\n"
    "       {\"source\": {\"principal\": \"cluster.local/ns/shop/sa/web\"}, \"destination\": {\"service\": \"shop/db\", "
    "\"port\": 5432}}\n";

std::string_view next_line(std::string_view& text) {
  const auto line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(text.size(), line.size() + 1));
  return line;
}

}  // namespace

Task<admin::Response> answer_explain(Loop& loop, explain::Facts facts, admin::Request request, StopToken stop) {
  if (request.method != "POST") co_return admin::Response{.status = 405, .body = kUsage};
  std::string answers;
  std::string_view questions = request.body;
  int steps = 0;
  while (!questions.empty() && steps < kExplainStepsMax && answers.size() < kExplainAnswersMax) {
    const auto line = next_line(questions);
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    explain::Explanation explanation(facts, line);
    for (;;) {
      if (++steps % kExplainStepsPerTurn == 0) co_await yield_to(loop);
      if (stop.stop_requested()) co_return admin::Response{.body = std::move(answers), .content_type = "application/json"};
      if (explanation.done()) break;
      explanation.step();
    }
    answers += explanation.answer() + "\n";
  }
  co_return admin::Response{.body = std::move(answers), .content_type = "application/json"};
}

}  // namespace weft::ztunnel
