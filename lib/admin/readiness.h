// What a process still waits for before it serves: named tasks, and the page kubelet asks.
//
// Not ready while any task is pending. A task may become pending again (a lost connection). Thread: the loop's.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "lib/admin/server.h"
#include "lib/base/clock.h"

namespace weft::admin {

// Outlives its tickets.
class Readiness {
 public:
  // `started` is when the process started, for the log.
  Readiness(const Clock& clock, MonotonicTime started) : clock_(clock), started_(started) {}
  Readiness(const Readiness&) = delete;
  Readiness& operator=(const Readiness&) = delete;

  // One pending task; it is done when its ticket is destroyed or released.
  class Ticket {
   public:
    Ticket() = default;
    Ticket(Ticket&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)), name_(std::move(other.name_)) {}
    Ticket& operator=(Ticket&& other) noexcept;
    ~Ticket() { release(); }

    // The task is done: logs it, with the time since the process started and what is left.
    void release();
    // The task will never be done: a process that shuts down does not become ready again.
    void leave_pending() { owner_ = nullptr; }

   private:
    friend class Readiness;
    Ticket(Readiness& owner, std::string name) : owner_(&owner), name_(std::move(name)) {}
    Readiness* owner_ = nullptr;
    std::string name_;
  };

  // Several tickets of one name are one task, done with the last.
  [[nodiscard]] Ticket begin(std::string name);
  bool ready() const { return pending_.empty(); }
  // Sorted.
  std::vector<std::string> pending() const;

  // GET /healthz/ready: 200 "ready\n", or 500 with the names of what is pending. Another method 405, another path 404.
  Response answer(const Request& request) const;
  // The same for a server; the readiness outlives it.
  Handler handler() const;

 private:
  void done(const std::string& name);

  const Clock& clock_;
  MonotonicTime started_;
  std::map<std::string, std::size_t> pending_;  // tickets by name
};

}  // namespace weft::admin
