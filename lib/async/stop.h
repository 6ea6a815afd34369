// Stopping as a request: a source asks, tokens see it, callbacks run. One thread only; nothing is atomic.
//
// A stopped operation ends with ErrorCode::kCancelled, like any other error; its frame and buffers live until it ended.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "lib/base/intrusive_list.h"

namespace weft {

class StopCallback;

namespace detail {
struct StopState {
  bool requested = false;
  IntrusiveList<StopCallback> callbacks;
};
}  // namespace detail

// Cheap to copy; a default one never stops. Keeps the shared state alive, not the source.
class StopToken {
 public:
  StopToken() = default;
  bool stop_requested() const { return state_ && state_->requested; }

 private:
  friend class StopSource;
  friend class StopCallback;
  std::shared_ptr<detail::StopState> state_;
};

// Runs `action` once when stop is requested (at once, inside the constructor, if it already was), unless destroyed before.
// The action runs on the requester's stack and may destroy any StopCallback, itself included.
class StopCallback : public ListLink {
 public:
  StopCallback(const StopToken& token, std::function<void()> action);

 private:
  friend class StopSource;
  std::function<void()> action_;
};

// Copies are the same source.
class StopSource {
 public:
  StopSource() : state_(std::make_shared<detail::StopState>()) {}

  StopToken token() const {
    StopToken token;
    token.state_ = state_;
    return token;
  }
  bool stop_requested() const { return state_->requested; }
  // Runs every callback once. Calling again does nothing.
  void request_stop();

 private:
  std::shared_ptr<detail::StopState> state_;
};

}  // namespace weft
