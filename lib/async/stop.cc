#include "lib/async/stop.h"

namespace weft {

StopCallback::StopCallback(const StopToken& token, std::function<void()> action) {
  if (!token.state_) return;
  if (token.state_->requested) {
    action();
    return;
  }
  action_ = std::move(action);
  token.state_->callbacks.push_back(*this);
}

void StopSource::request_stop() {
  auto state = state_;  // a callback may destroy this source
  if (std::exchange(state->requested, true)) return;
  while (!state->callbacks.empty()) {
    auto action = std::move(state->callbacks.pop_front().action_);
    action();
  }
}

}  // namespace weft
