#include <catch2/catch_test_macros.hpp>

#include "lib/async/manual_loop.h"
#include "lib/async/published.h"
#include "lib/async/queue.h"
#include "lib/async/scope.h"
#include "lib/async/semaphore.h"

using namespace weft;
using namespace std::chrono_literals;

namespace {

Task<int> at_once(int value) { co_return value; }

Task<long> add_up(long rounds) {
  long sum = 0;
  for (long i = 0; i < rounds; ++i) {
    auto one = co_await at_once(1);
    sum += one;
  }
  co_return sum;
}

Task<long> yield_often(Loop& loop, long rounds) {
  for (long i = 0; i < rounds; ++i) co_await yield_to(loop);
  co_return rounds;
}

Task<void> sleep_and_note(Loop& loop, Duration duration, StopToken stop, std::string& notes, char note) {
  auto slept = co_await sleep_for(loop, duration, stop);
  notes += slept ? note : 'x';
}

}  // namespace

TEST_CASE("three million awaits that complete at once do not grow the stack") {
  ManualLoop loop;
  CHECK(loop.run(add_up(3'000'000)) == 3'000'000);
}

TEST_CASE("a task that yields a hundred thousand times ends") {
  ManualLoop loop;
  CHECK(loop.run(yield_often(loop, 100'000)) == 100'000);
}

TEST_CASE("timers fire in order of their deadlines and a stop ends the sleepers") {
  ManualLoop loop;
  std::string notes;
  Scope scope(loop);
  scope.spawn(sleep_and_note(loop, 30ms, scope.token(), notes, 'c'));
  scope.spawn(sleep_and_note(loop, 10ms, scope.token(), notes, 'a'));
  scope.spawn(sleep_and_note(loop, 20ms, scope.token(), notes, 'b'));
  scope.spawn(sleep_and_note(loop, 1h, scope.token(), notes, 'd'));
  loop.advance(25ms);
  CHECK(notes == "ab");
  loop.advance(10ms);
  CHECK(notes == "abc");
  scope.request_stop();
  loop.run(scope.join());
  CHECK(notes == "abcx");
  CHECK(loop.armed_timers() == 0);
}

TEST_CASE("a deadline turns a cancelled wait into a timeout and leaves other errors alone") {
  ManualLoop loop;
  Deadline deadline(loop, 10s, {});
  auto result = loop.run(sleep_for(loop, 1min, deadline.token()));
  REQUIRE_FALSE(result);
  auto error = deadline.explain(result.error(), "connect");
  CHECK(error.code() == ErrorCode::kTimeout);
  CHECK(error.message() == "connect timed out after 10s");
  CHECK(deadline.explain(Error(ErrorCode::kRefused, "no"), "connect").code() == ErrorCode::kRefused);
}

namespace {
Task<void> produce(Queue<int>& queue, int count) {
  for (int i = 0; i < count; ++i) {
    auto pushed = co_await queue.push(i, {});
    (void)pushed;
  }
  queue.close();
}
Task<int> drain_queue(Queue<int>& queue) {
  int expected = 0;
  for (;;) {
    auto item = co_await queue.pop({});
    if (!item) co_return expected;
    if (*item != expected) co_return -1;
    ++expected;
  }
}
Task<void> hold(Semaphore& semaphore, Loop& loop, int& inside, int& most) {
  auto permit = co_await semaphore.acquire({});
  ++inside;
  most = std::max(most, inside);
  co_await yield_to(loop);
  --inside;
}
}  // namespace

TEST_CASE("a bounded queue passes everything on in order and ends when closed") {
  ManualLoop loop;
  Queue<int> queue(loop, 3);
  Scope scope(loop);
  scope.spawn(produce(queue, 1000));
  CHECK(loop.run(drain_queue(queue)) == 1000);
  loop.run(scope.join());
}

TEST_CASE("a semaphore never admits more than its permits") {
  ManualLoop loop;
  Semaphore semaphore(loop, 4);
  Scope scope(loop);
  int inside = 0, most = 0;
  for (int i = 0; i < 50; ++i) scope.spawn(hold(semaphore, loop, inside, most));
  loop.run(scope.join());
  CHECK(most == 4);
  CHECK(semaphore.available() == 4);
}

TEST_CASE("a watcher sees published values until its handle goes") {
  ManualLoop loop;
  Published<int> value(std::make_shared<const int>(1));
  int seen = 0;
  auto watcher = value.watch(loop, [&](const std::shared_ptr<const int>& now) { seen = *now; });
  value.publish(std::make_shared<const int>(2));
  loop.run_until_idle();
  CHECK(seen == 2);
  watcher = {};
  value.publish(std::make_shared<const int>(3));
  loop.run_until_idle();
  CHECK(seen == 2);
  CHECK(*value.current() == 3);
}

namespace {

// A loop of another thread, to which this happens while a publisher posts to it.
class Meanwhile final : public Loop {
 public:
  Meanwhile(ManualLoop& below, std::function<void()> what) : below_(below), what_(std::move(what)) {}
  void post(std::function<void()> action) override { below_.post(std::move(action)); }
  void post_from_any_thread(std::function<void()> action) override {
    below_.post_from_any_thread(std::move(action));
    what_();
  }
  bool on_loop_thread() const override { return false; }
  void arm(Timer& timer, MonotonicTime deadline) override { below_.arm(timer, deadline); }
  const Clock& clock() const override { return below_.clock(); }
  Random& random() override { return below_.random(); }

 private:
  ManualLoop& below_;
  std::function<void()> what_;
};

}  // namespace

TEST_CASE("a watcher's action does not run after its handle, also when the value is being published just then") {
  ManualLoop loop, other;
  Published<int> value;
  int first = 0, before = 0, after = 0;
  Published<int>::Watch told_before, told_after;
  Meanwhile busy(other, [&] {
    told_before = {};  // was posted to
    told_after = {};   // will be
  });
  told_before = value.watch(loop, [&](const auto& now) { before = *now; });
  auto watch = value.watch(busy, [&](const auto& now) { first = *now; });
  told_after = value.watch(loop, [&](const auto& now) { after = *now; });
  value.publish(std::make_shared<const int>(7));
  loop.run_until_idle();
  other.run_until_idle();
  CHECK(first == 7);
  CHECK(before == 0);
  CHECK(after == 0);
}

TEST_CASE("a watcher's action may end its own watch") {
  ManualLoop loop;
  Published<int> value;
  int runs = 0;
  Published<int>::Watch watch;
  watch = value.watch(loop, [&](const auto&) {
    ++runs;
    watch = {};
  });
  value.publish(std::make_shared<const int>(1));
  value.publish(std::make_shared<const int>(2));
  loop.run_until_idle();
  CHECK(runs == 1);
}

TEST_CASE("a stop callback may destroy its neighbours and itself") {
  StopSource source;
  int runs = 0;
  std::unique_ptr<StopCallback> first, second;
  first = std::make_unique<StopCallback>(source.token(), [&] {
    ++runs;
    second.reset();
    first.reset();
  });
  second = std::make_unique<StopCallback>(source.token(), [&] { runs += 100; });
  source.request_stop();
  CHECK(runs == 1);
}
