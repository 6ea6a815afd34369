// Connections that stay open are told of in the log: after a minute, and every ten minutes from then on. A connection that
// never ends would otherwise never be seen there.
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
  virtual void tell_still_open() const = 0;

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
  // Lines at a time, and the pause after them: many connections of one moment hold up neither traffic nor the log.
  static constexpr int kBatchMax = 100;
  static constexpr Duration kPause = std::chrono::milliseconds(10);

  // `loop` outlives the object, and the object the connections.
  explicit OpenConnections(Loop& loop) : loop_(loop), timer_([this] { tell_due(); }) {}

  void add(OpenConnection& connection);
  const Clock& clock() const { return loop_.clock(); }

 private:
  using Queue = IntrusiveList<OpenConnection>;
  int tell_due(Queue& queue, int most);
  void tell_due();

  Loop& loop_;
  Queue fresh_;  // not told of yet
  Queue told_;
  Timer timer_;
};

}  // namespace weft::ztunnel
