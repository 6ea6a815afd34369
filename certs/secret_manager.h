// One entry per identity: fetched, renewed at half life, kept over failures, forgotten.
//
// Runs on the control thread; what it hands out (Secret) is read from any thread. At most `concurrency` requests are with
// the authority at a time. Waiting requests are served by priority, then by age; an identity waits only once and rises when
// somebody needs it sooner. Failures repeat with back-off, an old certificate being served meanwhile for as long as it is
// valid. Only without one do callers see the error, and they see it at once.
//
// Validity and refresh times are wall-clock times. A clock that was set, either way, makes certificates of the time before
// it look stale or not valid yet, so all of them are asked for anew. An authority whose own clock is wrong answers with
// certificates that are not valid now: such a one is no answer while the old one is valid, is kept until it begins, and is
// served at once only for want of a better one, since it may as well be our clock that is wrong.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "certs/schedule.h"
#include "certs/secret.h"
#include "lib/async/loop.h"
#include "lib/async/scope.h"

namespace weft::certs {

// Asks an authority for one certificate; the manager's only view of it. `generation` goes into the credentials.
class CertificateSource {
 public:
  virtual ~CertificateSource() = default;
  virtual Task<Result<CredentialsPtr>> fetch(model::Identity identity, std::uint64_t generation, StopToken stop) = 0;
};

enum class Priority { kBackground, kWarmup, kRealTime };

class SecretManager {
 public:
  // Requests with the authority at a time, as upstream.
  static constexpr std::size_t kConcurrency = 8;
  // A request without an answer gives its slot back after this and counts as failed.
  static constexpr Duration kFetchTimeout = std::chrono::seconds(30);
  // An authority whose certificates are born past their half life is not asked more often than this.
  static constexpr Duration kRefreshFloor = std::chrono::seconds(1);
  // How often the wall clock is compared with the monotonic one, and what counts as set rather than corrected.
  static constexpr Duration kClockCheck = std::chrono::seconds(5);
  static constexpr Duration kClockJumpMin = std::chrono::seconds(10);
  // A certificate that is served and has not begun is asked for anew at most this often.
  static constexpr Duration kRepairPause = std::chrono::minutes(1);

  SecretManager(Loop& loop, CertificateSource& source, std::size_t concurrency = kConcurrency);
  SecretManager(const SecretManager&) = delete;
  SecretManager& operator=(const SecretManager&) = delete;
  ~SecretManager();

  // The secret of `identity`, asked for at once if it is new. kRealTime when a connection waits, kWarmup for a pod just
  // seen.
  SecretPtr request(const model::Identity& identity, Priority priority);
  // Nobody needs it any more: pending work is dropped, holders see "the identity is no longer needed".
  void forget(const model::Identity& identity);

  struct Entry {
    SecretPtr secret;
    bool in_flight;
    std::optional<WallTime> next_attempt;
  };
  // For the dump, ordered by identity.
  std::vector<Entry> entries() const;
  // The shortest remaining life of a served certificate, negative when it has run out; none when none is served. A gauge
  // shows it: while the authority is away it counts down.
  std::optional<Duration> shortest_life() const;

  // Ends every request; must be awaited before destruction.
  Task<void> stop();

 private:
  struct Item;
  using ItemPtr = std::shared_ptr<Item>;
  struct Sooner {
    bool operator()(const ItemPtr& a, const ItemPtr& b) const;
  };

  void enqueue(const ItemPtr& item, Priority priority);
  void start_waiting();
  Task<void> fetch(ItemPtr item);
  void finish(Item& item, Result<CredentialsPtr> outcome);
  void schedule(Item& item, WallTime when);
  void on_timer(const std::string& key);
  void check_clock();
  bool is_out_of_time(const Item& item) const;
  Duration wall_offset();

  Loop& loop_;
  CertificateSource& source_;
  const std::size_t concurrency_;
  std::map<std::string, ItemPtr> items_;  // by SPIFFE identity
  std::set<ItemPtr, Sooner> waiting_;
  std::size_t in_flight_ = 0;
  std::uint64_t arrivals_ = 0;
  std::uint64_t generations_ = 0;
  bool stopping_ = false;
  Duration wall_offset_;  // wall clock less monotonic clock, when last looked at
  Timer clock_timer_;
  Scope scope_;
  // Expires with the manager: posts from other threads look first.
  std::shared_ptr<SecretManager*> alive_;
};

}  // namespace weft::certs
