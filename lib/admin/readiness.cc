#include "lib/admin/readiness.h"

#include "lib/base/log.h"

namespace weft::admin {
namespace {

Task<Response> answer_with(const Readiness& readiness, Request request) { co_return readiness.answer(request); }

}  // namespace

Readiness::Ticket& Readiness::Ticket::operator=(Ticket&& other) noexcept {
  if (this == &other) return *this;
  // The new task is already pending when the old one is done: not ready in between.
  Ticket old(std::move(*this));
  owner_ = std::exchange(other.owner_, nullptr);
  name_ = std::move(other.name_);
  return *this;
}

void Readiness::Ticket::release() {
  if (auto* owner = std::exchange(owner_, nullptr)) owner->done(name_);
}

Readiness::Ticket Readiness::begin(std::string name) {
  ++pending_[name];
  return Ticket(*this, std::move(name));
}

std::vector<std::string> Readiness::pending() const {
  std::vector<std::string> names;
  for (const auto& [name, tickets] : pending_) names.push_back(name);
  return names;
}

void Readiness::done(const std::string& name) {
  const auto found = pending_.find(name);
  if (--found->second > 0) return;
  const auto task = pending_.extract(found);
  const std::chrono::duration<double> elapsed = clock_.monotonic() - started_;
  const auto time = fmt::format("{:.3f}s", elapsed.count());
  if (ready()) {
    WEFT_LOG(kInfo, "readiness", "task complete, marking server ready", {"task", task.key()}, {"elapsed", time});
  } else {
    WEFT_LOG(kInfo, "readiness", "task complete", {"task", task.key()}, {"elapsed", time},
             {"left", fmt::to_string(pending_.size()), log::FieldKind::kNumber});
  }
}

Response Readiness::answer(const Request& request) const {
  constexpr const char* kType = "text/plain";
  if (request.path != "/healthz/ready") return {404, {}, kType};
  if (request.method != "GET") return {405, {}, kType};
  if (ready()) return {200, "ready\n", kType};
  return {500, fmt::format("not ready, pending: {}\n", fmt::join(pending(), ", ")), kType};
}

Handler Readiness::handler() const {
  return [this](Request request, StopToken) { return answer_with(*this, std::move(request)); };
}

}  // namespace weft::admin
