// One identity's certificate as the proxy of one pod sees it: the latest state, readable from any thread, and a wait for
// the first answer. It hides everybody else's.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "lib/async/published.h"
#include "lib/async/stop.h"
#include "lib/async/task.h"
#include "lib/base/error.h"
#include "lib/model/identity.h"
#include "lib/tls/credentials.h"

namespace weft::certs {

using CredentialsPtr = std::shared_ptr<const tls::Credentials>;

// Exactly one of the two, or neither while the first request is under way.
struct SecretState {
  CredentialsPtr credentials;  // served until a newer one comes, also while renewals fail and it is still valid
  std::optional<Error> error;

  // "Initializing", "Available", "Unavailable: <error>".
  std::string to_string() const;
};

class Secret {
 public:
  // `hurry` is called on a thread that waits for the first certificate; it asks for precedence.
  Secret(model::Identity identity, std::function<void()> hurry);

  const model::Identity& identity() const { return identity_; }
  // Any thread; never null.
  std::shared_ptr<const SecretState> current() const { return state_.current(); }
  // Any thread, `loop` being that thread's. At once when there are credentials or an error (the error is not waited out:
  // a connection that cannot be made safe fails now); else when the first answer comes. kCancelled on stop.
  Task<Result<CredentialsPtr>> get(Loop& loop, StopToken stop) const;
  // Runs `action` on `loop` after each change while the handle lives.
  [[nodiscard]] Published<SecretState>::Watch watch(
      Loop& loop, std::function<void(const std::shared_ptr<const SecretState>&)> action) const {
    return state_.watch(loop, std::move(action));
  }

  // For the manager.
  void publish(SecretState state) const { state_.publish(std::make_shared<const SecretState>(std::move(state))); }

 private:
  const model::Identity identity_;
  const std::function<void()> hurry_;
  mutable Published<SecretState> state_;
};

using SecretPtr = std::shared_ptr<const Secret>;

}  // namespace weft::certs
