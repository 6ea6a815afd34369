#include "ztunnel/open_connections.h"

#include <algorithm>

namespace weft::ztunnel {

void OpenConnections::add(OpenConnection& connection) {
  connection.due_ = loop_.now() + kFirst;
  fresh_.push_back(connection);
  if (!timer_.armed() || connection.due_ < next_) arm(connection.due_);
}

void OpenConnections::arm(MonotonicTime next) {
  next_ = next;
  loop_.arm(timer_, next);
}

int OpenConnections::see_to_due(Queue& queue, int most) {
  int seen = 0;
  while (seen < most && !queue.empty() && queue.front().due_ <= loop_.now()) {
    OpenConnection& connection = queue.pop_front();
    connection.due_ = loop_.now() + kRepeat;
    seen_.push_back(connection);
    connection.on_still_open();  // last: it may be gone afterwards
    ++seen;
  }
  return seen;
}

void OpenConnections::see_to_due() {
  const int seen = see_to_due(fresh_, kBatchMax);
  see_to_due(seen_, kBatchMax - seen);
  auto next = MonotonicTime::max();
  for (Queue* queue : {&fresh_, &seen_}) {
    if (!queue->empty()) next = std::min(next, queue->front().due_);
  }
  if (next != MonotonicTime::max()) arm(std::max(next, loop_.now() + kPause));
}

}  // namespace weft::ztunnel
