#include "certs/secret.h"

#include "lib/async/event.h"

namespace weft::certs {
namespace {

// The answer a state gives to a connection; none while the first request is under way.
std::optional<Result<CredentialsPtr>> answer(const SecretState& state) {
  if (state.credentials) return Result<CredentialsPtr>(state.credentials);
  if (state.error) return Result<CredentialsPtr>(fail(*state.error));
  return std::nullopt;
}

}  // namespace

std::string SecretState::to_string() const {
  if (credentials) return "Available";
  if (error) return "Unavailable: " + error->message();
  return "Initializing";
}

Secret::Secret(model::Identity identity, std::function<void()> hurry)
    : identity_(std::move(identity)), hurry_(std::move(hurry)), state_(std::make_shared<const SecretState>()) {}

Task<Result<CredentialsPtr>> Secret::get(Loop& loop, StopToken stop) const {
  if (auto ready = answer(*current())) co_return std::move(*ready);
  Event changed(loop);
  auto watcher = watch(loop, [&changed](const auto&) { changed.set(); });
  hurry_();
  for (;;) {
    if (auto ready = answer(*current())) co_return std::move(*ready);
    auto woken = co_await changed.wait(stop);
    if (!woken) co_return fail(std::move(woken).error());
    changed.reset();
  }
}

}  // namespace weft::certs
