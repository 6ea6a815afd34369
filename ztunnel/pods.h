// Which pods this node proxy serves: what the node agent says, carried out on the workers.
//
// A pod goes to the worker that has the fewest. A pod whose proxy could not be started is tried again every kRetryInterval
// and keeps the process unready. Control thread.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/admin/readiness.h"
#include "lib/async/semaphore.h"
#include "lib/telemetry/metrics.h"
#include "lib/zds/client.h"
#include "ztunnel/worker.h"

namespace weft::ztunnel {

// One pod as the dump shows it.
struct PodState {
  zds::Pod pod;
  bool up = false;  // its proxy runs; else it could not be started yet
  std::vector<ConnectionRow> inbound, outbound;
};

class Pods final : public zds::PodEvents {
 public:
  static constexpr Duration kRetryInterval = std::chrono::seconds(5);
  // How long remove() waits for a pod's turn and for its connections to be gone; they need kGoodbye and a turn of their
  // worker.
  static constexpr Duration kRemovalMax = std::chrono::seconds(1);

  // Unready from the start, as "workload proxy manager". All references outlive it.
  Pods(Loop& control, std::vector<Worker*> workers, admin::Readiness& readiness, telemetry::Registry& registry);
  ~Pods() override;

  void connected() override;
  Task<Result<void>> add(zds::Pod pod, Fd netns, StopToken stop) override;
  // Returns when the pod's connections have ended, and peers and application have been told: once the agent hears of it
  // rules, addresses and the link go. A worker that is held up, the pod's or one that another pod or describe() waits for,
  // delays it by kRemovalMax at the most; the rest is then done behind it, and the pod is added again only after that.
  Task<void> remove(std::string uid) override;
  void forget(std::string uid) override;
  Task<void> snapshot_done(std::set<std::string> named) override;
  void disconnected() override;

  // Every pod with its live connections, gathered from the workers, by UID; nothing once the process drains. No pod comes or
  // goes meanwhile. kCancelled on `stop`.
  Task<Result<std::vector<PodState>>> describe(StopToken stop);

  // The process ends: every pod drains, all at once; returns when all are gone, those given up before included. The process
  // does not become ready again.
  Task<void> drain();

 private:
  // A network namespace is known by its file.
  struct NamespaceId {
    dev_t device = 0;
    ino_t inode = 0;
    bool operator==(const NamespaceId&) const = default;
  };
  struct Running {
    NamespaceId netns;
    std::size_t worker = 0;
    std::uint64_t proxy = 0;
  };
  struct Waiting {
    zds::Pod pod;
    Fd netns;
  };

  static Result<NamespaceId> identify(const Fd& netns);
  Task<Result<void>> start(zds::Pod pod, const Fd& netns);
  // Begins to end the pod's proxy. Set when it is gone; null when there is none.
  std::shared_ptr<Event> stop(const std::string& uid, DrainMode mode);
  // Sets `turn` when the pod's end has begun, and `gone` when nothing is left of it.
  Task<void> take_out(std::string uid, std::shared_ptr<Event> turn, std::shared_ptr<Event> gone);
  Task<void> stop_proxy(Running running, DrainMode mode, std::shared_ptr<Event> gone);
  Task<void> retry();
  void update();

  Loop& control_;
  const std::vector<Worker*> workers_;
  admin::Readiness& readiness_;
  telemetry::Gauge& active_;
  telemetry::Gauge& pending_count_;
  telemetry::Counter& started_;
  telemetry::Counter& stopped_;

  std::map<std::string, Running> running_;  // by pod UID
  std::map<std::string, Waiting> waiting_;
  std::map<std::string, std::shared_ptr<Event>> removing_;  // until it is their turn
  std::vector<std::size_t> load_;                           // pods per worker
  std::uint64_t proxies_ = 0;
  bool snapshot_done_ = false;
  bool draining_ = false;
  std::optional<admin::Readiness::Ticket> unready_;
  Semaphore starting_;  // one pod changes at a time
  Timer retry_timer_;
  Scope scope_;
};

}  // namespace weft::ztunnel
