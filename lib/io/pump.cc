#include "lib/io/pump.h"

#include "lib/async/scope.h"

namespace weft::io {
namespace {

struct Shared {
  int directions = 2;  // that have not ended yet
  bool cut = false;    // one ended because its destination took no more
  bool reset = false;
  Result<void> outcome;
  void note(Error error) {
    if (outcome) outcome = fail(std::move(error));
  }
};

// The peer is gone. What it said before may still wait to be read: the kernel keeps it behind a reset.
bool is_gone(const Error& error) { return error.code() == ErrorCode::kReset || error.code() == ErrorCode::kClosed; }

// Copies one direction. What does not end in an orderly way ends both sides with a reset, whichever of them failed: an end
// of stream would make what came so far look complete.
Task<void> copy(Stream& source, Stream& destination, std::uint64_t& total, const std::function<void(std::uint64_t)>& report,
                Shared& shared, const char* what) {
  const auto reset_both = [&] {
    source.abort(AbortReason::kReset);
    destination.abort(AbortReason::kReset);
  };
  const auto give_up = [&](Error error) {
    if (is_gone(error)) {
      shared.reset = true;
    } else if (error.code() != ErrorCode::kCancelled) {
      shared.note(std::move(error).within(what));
    }
    reset_both();
  };
  for (;;) {
    auto data = co_await source.read(kPumpReadMax);
    if (!data) co_return give_up(std::move(data).error());
    if (data->empty()) {
      auto finished = co_await destination.shutdown_write();
      (void)finished;  // a destination that is already gone shows itself in the other direction
      break;
    }
    const auto size = data->size();
    auto written = co_await destination.write(std::move(*data));
    if (!written && !is_gone(written.error())) co_return give_up(std::move(written).error());
    if (!written) {
      shared.cut = shared.reset = true;
      break;
    }
    source.consumed(size);
    total += size;
    if (report) report(size);
  }
  // The other direction carries the last words of the side that is gone to their end, and that of all is the reset.
  if (--shared.directions == 0 && shared.cut) reset_both();
}

}  // namespace

Task<PumpResult> pump(Loop& loop, Stream& a, Stream& b, PumpCounters& counters, StopToken stop) {
  Shared shared;
  bool stopped = false;
  {
    StopCallback on_stop(stop, [&] {
      stopped = true;
      a.abort(AbortReason::kReset);
      b.abort(AbortReason::kReset);
    });
    Scope back(loop);
    back.spawn(copy(b, a, counters.b_to_a, counters.on_b_to_a, shared, "receive"));
    co_await copy(a, b, counters.a_to_b, counters.on_a_to_b, shared, "send");
    co_await back.join();
  }
  PumpResult result;
  result.reset = shared.reset;
  result.outcome = std::move(shared.outcome);
  if (stopped && result.outcome) result.outcome = fail(ErrorCode::kCancelled, "connection closed by us");
  co_return result;
}

}  // namespace weft::io
