// Connections that stay open are seen to after a minute, and every ten minutes from then on: told of in the log, where one
// that never ends would otherwise never be seen, and looked at for standing still (inbound/stall_watch.h).
//
// Two queues in the order of what is due, and one timer: a connection costs two list operations, a short one nothing else.
// Thread: the worker's.
#pragma once

#include "lib/async/loop.h"
#include "lib/base/intrusive_list.h"

namespace weft::ztunnel {

// Takes itself out when it is destroyed.
class OpenConnection : public ListLink {
 public:
  // May end the connection.
  virtual void on_still_open() = 0;

 protected:
  ~OpenConnection() = default;

 private:
  friend class OpenConnections;
  MonotonicTime due_{};
};

class OpenConnections {
 public:
  static constexpr Duration kFirst = std::chrono::seconds(60);
  static constexpr Duration kRepeat = std::chrono::minutes(10);
  // At a time, and the pause after them: many connections of one moment hold up neither traffic nor the log.
  static constexpr int kBatchMax = 100;
  static constexpr Duration kPause = std::chrono::milliseconds(10);

  // `loop` outlives the object, and the object the connections.
  explicit OpenConnections(Loop& loop) : loop_(loop), timer_([this] { see_to_due(); }) {}

  void add(OpenConnection& connection);
  const Clock& clock() const { return loop_.clock(); }

 private:
  using Queue = IntrusiveList<OpenConnection>;
  int see_to_due(Queue& queue, int most);
  void see_to_due();
  void arm(MonotonicTime next);

  Loop& loop_;
  Queue fresh_;  // not seen to yet
  Queue seen_;
  Timer timer_;
  MonotonicTime next_{};  // what an armed timer stands at
};

}  // namespace weft::ztunnel
