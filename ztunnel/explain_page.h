// The page /explain: whom this node would let in and why, by the policies in force at this moment.
#pragma once

#include "lib/admin/server.h"
#include "lib/explain/explain.h"

namespace weft::ztunnel {

// POST only: 405 otherwise, with the usage. The body has a JSON question a line, the answer a JSON line for each, in order
// (docs/weftctl.md); empty lines are passed over. Traffic goes on meanwhile, and the control loop gets its turn every few
// steps. So that no caller keeps the loop or memory busy for long, a request that asks too much gets answers to its first
// lines only, at least one; the caller asks again with the rest. On `stop` likewise, and possibly none.
Task<admin::Response> answer_explain(Loop& loop, explain::Facts facts, admin::Request request, StopToken stop);

// A step costs 2 us to 1 ms (a service of 10,000 endpoints), so a turn of them delays nobody noticeably.
inline constexpr int kExplainStepsPerTurn = 4;
// Steps after which no further line is begun: some seconds of the control thread at worst.
inline constexpr int kExplainStepsMax = 4096;
// Answers after which no further line is begun; one answer names every ALLOW policy of its destination.
inline constexpr std::size_t kExplainAnswersMax = 1024 * 1024;

}  // namespace weft::ztunnel
