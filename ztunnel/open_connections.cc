#include "ztunnel/open_connections.h"

#include <algorithm>

namespace weft::ztunnel {

void OpenConnections::add(OpenConnection& connection) {
  connection.due_ = loop_.now() + kFirst;
  fresh_.push_back(connection);
  if (!timer_.armed()) loop_.arm(timer_, connection.due_);
}

int OpenConnections::tell_due(Queue& queue, int most) {
  int told = 0;
  while (told < most && !queue.empty() && queue.front().due_ <= loop_.now()) {
    OpenConnection& connection = queue.pop_front();
    connection.tell_still_open();
    connection.due_ = loop_.now() + kRepeat;
    told_.push_back(connection);
    ++told;
  }
  return told;
}

void OpenConnections::tell_due() {
  const int told = tell_due(fresh_, kBatchMax);
  tell_due(told_, kBatchMax - told);
  auto next = MonotonicTime::max();
  for (Queue* queue : {&fresh_, &told_}) {
    if (!queue->empty()) next = std::min(next, queue->front().due_);
  }
  if (next != MonotonicTime::max()) loop_.arm(timer_, std::max(next, loop_.now() + kPause));
}

}  // namespace weft::ztunnel
