#include "lib/hbone/pool.h"

#include <algorithm>

#include "lib/base/log.h"

namespace weft::hbone {

struct Pool::Member {
  std::shared_ptr<const void> hold;
  std::shared_ptr<http2::Connection> connection;
  std::unique_ptr<Timer> unused;
};

struct Pool::Entry {
  Entry(Loop& loop, PoolKey k) : key(std::move(k)), creating(loop, 1) {}
  const PoolKey key;
  Semaphore creating;
  std::vector<std::shared_ptr<Member>> members;
  bool evicted = false;   // no longer in the pool; what it still makes is used once and not kept
  std::size_t users = 0;  // open() calls under way
};

// An open() that needs the entry.
struct Pool::User {
  User(Pool& owner, std::shared_ptr<Entry> used) : pool(owner), entry(std::move(used)) { ++entry->users; }
  User(const User&) = delete;
  ~User() {
    --entry->users;
    pool.drop_if_unused(*entry);
  }
  Pool& pool;
  const std::shared_ptr<Entry> entry;
};

Pool::Pool(Loop& loop, Options options, Dialer dial)
    : loop_(loop), options_(std::move(options)), dial_(std::move(dial)), scope_(loop) {}

Pool::~Pool() = default;

std::shared_ptr<http2::Connection> Pool::find_free(Entry& entry) {
  for (const auto& member : entry.members) {
    if (member->connection->capacity(options_.streams_max) == 0 || member->connection->window_used_up()) continue;
    arm(*member);
    return member->connection;
  }
  return nullptr;
}

void Pool::arm(Member& member) { loop_.arm(*member.unused, loop_.now() + options_.unused_release_timeout); }

void Pool::retire(const std::shared_ptr<Member>& member) {
  member->unused->cancel();
  member->connection->shutdown();
}

std::shared_ptr<http2::Connection> Pool::add(const std::shared_ptr<Entry>& entry, Dialed dialed) {
  auto member = std::make_shared<Member>();
  member->hold = std::move(dialed.hold);
  member->connection = http2::Connection::create(loop_, http2::Role::kClient, options_.http2, std::move(dialed.transport));
  // Looks again after another period while tunnels are open: unused means that none was.
  member->unused = std::make_unique<Timer>([this, raw = member.get()] {
    if (raw->connection->active_streams() > 0) {
      arm(*raw);
    } else {
      raw->connection->shutdown();
    }
  });
  entry->members.push_back(member);
  arm(*member);
  const auto connection = member->connection;
  // Its first write may fail at once; it is no member any more then, and a tunnel on it fails as on any that ended.
  scope_.spawn(drive(entry, std::move(member)));
  return connection;
}

Task<void> Pool::drive(std::shared_ptr<Entry> entry, std::shared_ptr<Member> member) {
  auto ended = co_await member->connection->run(scope_.token());
  if (!ended && ended.error().code() == ErrorCode::kTimeout) {
    WEFT_LOG(kWarn, "hbone", "HBONE ping timeout/error", {"hop", entry->key.hop.to_string()});
  }
  member->unused->cancel();
  std::erase(entry->members, member);
  drop_if_unused(*entry);
}

void Pool::drop_if_unused(const Entry& entry) {
  if (!entry.evicted && entry.members.empty() && entry.users == 0) entries_.erase(entry.key);
}

Task<Result<Tunnel>> Pool::open(PoolKey key, http2::Headers request, StopToken stop) {
  std::shared_ptr<http2::Connection> connection;
  {
    if (scope_.stop_requested()) co_return fail(ErrorCode::kCancelled, "pool draining");
    auto& slot = entries_[key];
    if (!slot) slot = std::make_shared<Entry>(loop_, key);
    const User user(*this, slot);
    const auto& entry = user.entry;
    connection = find_free(*entry);
    if (!connection) {
      auto permit = co_await entry->creating.acquire(stop);
      if (!permit) co_return fail(std::move(permit).error());
      connection = find_free(*entry);  // another may have made one, or one has room again
      if (!connection) {
        // Both ends of waiting: the caller's and the pool's.
        StopSource either;
        StopCallback on_caller(stop, [&either] { either.request_stop(); });
        StopCallback on_pool(scope_.token(), [&either] { either.request_stop(); });
        auto dialed = co_await dial_(entry->key, either.token());
        if (scope_.stop_requested()) co_return fail(ErrorCode::kCancelled, "pool draining");
        if (!dialed) co_return fail(std::move(dialed).error());
        if (entry->evicted)
          co_return fail(ErrorCode::kUnavailable, "the destination went away while it was being connected", Side::kUpstream);
        connection = add(entry, std::move(*dialed));
      }
    }
    // From here on the tunnel holds its connection; open() below runs without a suspension in between.
  }
  Deadline deadline(loop_, kAnswerTimeout, stop);
  auto tunnel = co_await connect(*connection, std::move(request), deadline.token());
  if (!tunnel && tunnel.error().code() == ErrorCode::kCancelled && deadline.expired())
    co_return fail(ErrorCode::kUnreachable, "the tunnel request was not answered: deadline has elapsed", Side::kUpstream);
  co_return std::move(tunnel);
}

void Pool::evict_if(const std::function<bool(const PoolKey&)>& gone) {
  for (auto it = entries_.begin(); it != entries_.end();) {
    if (!gone(it->first)) {
      ++it;
      continue;
    }
    it->second->evicted = true;
    for (const auto& member : it->second->members) retire(member);
    it = entries_.erase(it);
  }
}

void Pool::evict_destinations(const std::function<bool(const std::string& uid)>& gone) {
  evict_if([&gone](const PoolKey& key) { return !key.destination_uid.empty() && gone(key.destination_uid); });
}

void Pool::evict_generations_before(std::uint64_t generation) {
  evict_if([generation](const PoolKey& key) { return key.credential_generation < generation; });
}

std::size_t Pool::connections() const {
  std::size_t count = 0;
  for (const auto& [key, entry] : entries_)
    count += static_cast<std::size_t>(
        std::count_if(entry->members.begin(), entry->members.end(), [](const auto& m) { return !m->connection->ending(); }));
  return count;
}

Task<void> Pool::close() {
  scope_.request_stop();
  co_await scope_.join();
  entries_.clear();
}

}  // namespace weft::hbone
