#include "certs/secret_manager.h"

#include <algorithm>

#include "lib/base/log.h"

namespace weft::certs {
namespace {

bool is_valid(const tls::Credentials& certificate, WallTime now) {
  return certificate.not_before() <= now && now < certificate.not_after();
}

// Whether `held` is kept before `fresh`, which is not valid now: by the clock of whoever is wrong, the authority or we.
bool serves_better(const tls::Credentials& held, const tls::Credentials& fresh, WallTime now) {
  if (is_valid(held, now)) return true;
  return now < held.not_before() && held.not_before() <= fresh.not_before();
}

Error not_valid_now(const tls::Credentials& fresh) {
  return Error(ErrorCode::kUnavailable, "the certificate is not valid by this node's clock, only from " +
                                            format_rfc3339(fresh.not_before()) + " to " + format_rfc3339(fresh.not_after()) +
                                            ": compare the clocks of the authority and of this node");
}

}  // namespace

struct SecretManager::Item {
  Item(std::string key, SecretPtr secret, std::function<void()> on_timer)
      : key(std::move(key)), secret(std::move(secret)), timer(std::move(on_timer)) {}

  const std::string key;
  const SecretPtr secret;
  CredentialsPtr next;  // not begun yet, for when it has
  Timer timer;
  WallTime next_attempt{};
  MonotonicTime no_repair_before{};
  Backoff backoff;
  StopSource stop;
  Priority priority = Priority::kBackground;
  std::uint64_t arrival = 0;
  bool waiting = false;
  bool in_flight = false;
  bool forgotten = false;
};

bool SecretManager::Sooner::operator()(const ItemPtr& a, const ItemPtr& b) const {
  if (a->priority != b->priority) return a->priority > b->priority;
  return a->arrival < b->arrival;
}

SecretManager::SecretManager(Loop& loop, CertificateSource& source, std::size_t concurrency)
    : loop_(loop),
      source_(source),
      concurrency_(concurrency),
      wall_offset_(wall_offset()),
      clock_timer_([this] { check_clock(); }),
      scope_(loop),
      alive_(std::make_shared<SecretManager*>(this)) {}

SecretManager::~SecretManager() = default;

SecretPtr SecretManager::request(const model::Identity& identity, Priority priority) {
  const std::string key = identity.to_string();
  auto found = items_.find(key);
  if (found == items_.end()) {
    if (!clock_timer_.armed()) loop_.arm(clock_timer_, loop_.now() + kClockCheck);
    auto hurry = [&loop = loop_, identity, weak = std::weak_ptr(alive_)] {
      loop.post_from_any_thread([identity, weak] {
        if (auto alive = weak.lock()) {
          if ((*alive)->items_.contains(identity.to_string())) (*alive)->request(identity, Priority::kRealTime);
        }
      });
    };
    auto secret = std::make_shared<const Secret>(identity, std::move(hurry));
    auto item = std::make_shared<Item>(key, std::move(secret), [this, key] { on_timer(key); });
    found = items_.emplace(key, std::move(item)).first;
    enqueue(found->second, priority);
    return found->second->secret;
  }
  const ItemPtr& item = found->second;
  if (item->waiting && priority > item->priority) {
    waiting_.erase(item);
    item->waiting = false;
    enqueue(item, priority);
  }
  return item->secret;
}

void SecretManager::enqueue(const ItemPtr& item, Priority priority) {
  item->priority = priority;
  item->arrival = arrivals_++;
  item->waiting = true;
  waiting_.insert(item);
  start_waiting();
}

void SecretManager::start_waiting() {
  while (!stopping_ && in_flight_ < concurrency_ && !waiting_.empty()) {
    ItemPtr item = *waiting_.begin();
    waiting_.erase(waiting_.begin());
    item->waiting = false;
    item->in_flight = true;
    ++in_flight_;
    scope_.spawn(fetch(std::move(item)));
  }
}

Task<void> SecretManager::fetch(ItemPtr item) {
  Deadline deadline(loop_, kFetchTimeout, item->stop.token());
  auto outcome = co_await source_.fetch(item->secret->identity(), ++generations_, deadline.token());
  --in_flight_;
  item->in_flight = false;
  if (!item->forgotten && !stopping_) {
    if (!outcome) outcome = fail(deadline.explain(std::move(outcome).error(), "certificate request"));
    finish(*item, std::move(outcome));
  }
  // Not on this stack: a source that answers at once would let requests recurse.
  loop_.post([weak = std::weak_ptr(alive_)] {
    if (auto alive = weak.lock()) (*alive)->start_waiting();
  });
}

void SecretManager::finish(Item& item, Result<CredentialsPtr> outcome) {
  const WallTime now = loop_.clock().wall();
  const CredentialsPtr old = item.secret->current()->credentials;
  if (item.next && now >= item.next->not_after()) item.next = nullptr;
  if (outcome && !is_valid(**outcome, now)) {
    if (item.next && item.next->not_before() <= (*outcome)->not_before()) outcome = item.next;
    if (old && !is_valid(**outcome, now) && serves_better(*old, **outcome, now)) {
      if (now < (*outcome)->not_before()) item.next = *outcome;
      outcome = fail(not_valid_now(**outcome));
    }
  }
  if (outcome) {
    const tls::Credentials& fresh = **outcome;
    const bool valid = is_valid(fresh, now);
    if (valid) item.backoff.reset();
    const WallTime soonest = now + (valid ? kRefreshFloor : item.backoff.next(loop_.random().unit()));
    schedule(item, std::max(refresh_time(fresh.not_before(), fresh.not_after()), soonest));
    WEFT_LOG(kDebug, "identity", "certificate fetched", {"identity", item.key},
             {"expires", format_rfc3339(fresh.not_after())});
    item.next = nullptr;
    item.secret->publish({.credentials = std::move(*outcome), .error = {}});
    return;
  }
  WallTime retry = now + item.backoff.next(loop_.random().unit());
  if (old && now < old->not_after()) {
    // The last attempt is no later than the end of the old certificate, which then is no longer served.
    retry = std::min(retry, old->not_after());
    if (item.next) retry = std::min(retry, item.next->not_before());
    WEFT_LOG(kInfo, "identity", "certificate renewal failed, keeping the old one", {"identity", item.key},
             {"error", outcome.error().message()}, {"expires", format_rfc3339(old->not_after())},
             {"retry", format_rfc3339(retry)});
  } else {
    WEFT_LOG(kWarn, "identity", "certificate unavailable", {"identity", item.key}, {"error", outcome.error().message()},
             {"retry", format_rfc3339(retry)});
    item.secret->publish({.credentials = nullptr, .error = std::move(outcome).error()});
  }
  schedule(item, retry);
}

void SecretManager::schedule(Item& item, WallTime when) {
  item.next_attempt = when;
  const Duration delay = std::max<Duration>(when - loop_.clock().wall(), Duration::zero());
  loop_.arm(item.timer, loop_.now() + delay);
}

Duration SecretManager::wall_offset() {
  return loop_.clock().wall().time_since_epoch() - loop_.clock().monotonic().time_since_epoch();
}

void SecretManager::check_clock() {
  if (stopping_ || items_.empty()) return;
  loop_.arm(clock_timer_, loop_.now() + kClockCheck);
  const Duration offset = wall_offset();
  const Duration jump = offset - std::exchange(wall_offset_, offset);
  const bool was_set = jump >= kClockJumpMin || jump <= -kClockJumpMin;
  if (was_set) {
    WEFT_LOG(kWarn, "identity", "the clock was set, renewing all certificates",
             {"seconds", fmt::to_string(std::chrono::duration_cast<std::chrono::seconds>(jump).count()),
              log::FieldKind::kNumber});
  }
  for (const auto& [key, item] : items_) {
    if (was_set) item->next = nullptr;
    if (item->waiting || item->in_flight) continue;
    const bool repair = is_out_of_time(*item) && loop_.now() >= item->no_repair_before;
    if (!was_set && !repair) continue;
    // An authority whose own clock is ahead gives no better one at once.
    if (repair) item->no_repair_before = loop_.now() + kRepairPause;
    item->timer.cancel();
    enqueue(item, Priority::kBackground);
  }
}

// Asked for while the clock was wrong for less than kClockCheck, which nobody has seen, or by an authority whose clock was.
bool SecretManager::is_out_of_time(const Item& item) const {
  const WallTime now = loop_.clock().wall();
  const CredentialsPtr held = item.secret->current()->credentials;
  return held && (now < held->not_before() || now >= item.next_attempt + kClockJumpMin);
}

void SecretManager::on_timer(const std::string& key) {
  auto found = items_.find(key);
  if (found == items_.end()) return;
  Item& item = *found->second;
  if (item.next && is_valid(*item.next, loop_.clock().wall())) return finish(item, CredentialsPtr(item.next));
  enqueue(found->second, Priority::kBackground);
}

void SecretManager::forget(const model::Identity& identity) {
  auto found = items_.find(identity.to_string());
  if (found == items_.end()) return;
  ItemPtr item = std::move(found->second);
  items_.erase(found);
  if (item->waiting) waiting_.erase(item);
  item->waiting = false;
  item->forgotten = true;
  item->timer.cancel();
  item->secret->publish({.credentials = nullptr, .error = Error(ErrorCode::kCancelled, "the identity is no longer needed")});
  item->stop.request_stop();
}

std::vector<SecretManager::Entry> SecretManager::entries() const {
  std::vector<Entry> entries;
  for (const auto& [key, item] : items_) {
    Entry entry{item->secret, item->in_flight, {}};
    if (item->timer.armed()) entry.next_attempt = item->next_attempt;
    entries.push_back(std::move(entry));
  }
  return entries;
}

std::optional<Duration> SecretManager::shortest_life() const {
  std::optional<Duration> shortest;
  const WallTime now = loop_.clock().wall();
  for (const auto& [key, item] : items_) {
    const auto state = item->secret->current();
    if (!state->credentials) continue;
    const Duration life = state->credentials->not_after() - now;
    if (!shortest || life < *shortest) shortest = life;
  }
  return shortest;
}

Task<void> SecretManager::stop() {
  stopping_ = true;
  clock_timer_.cancel();
  waiting_.clear();
  for (auto& [key, item] : items_) {
    item->timer.cancel();
    item->stop.request_stop();
  }
  co_await scope_.join();
  alive_.reset();
}

}  // namespace weft::certs
