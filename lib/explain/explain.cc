#include "lib/explain/explain.h"

#include <algorithm>
#include <set>

#include "lib/explain/detail/judge.h"
#include "lib/explain/request.h"
#include "lib/model/balance.h"
#include "lib/model/route.h"

namespace weft::explain {
namespace {

using Json = nlohmann::ordered_json;
using detail::Answer;
using detail::Target;

Json or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

std::unexpected<Error> unknown(const char* what, const std::string& name) {
  return fail(ErrorCode::kNotFound, "unknown " + std::string(what) + ": " + name);
}

}  // namespace

class Explanation::Work {
 public:
  Work(const Facts& facts, std::string_view line) : facts_(facts), snapshot_(*facts.snapshot) {
    if (auto begun = begin(line); !begun) finish(fail(std::move(begun).error()));
  }

  bool done() const { return result_.has_value(); }

  // One way that the connection to the service may take. One that refuses is worth more than those that do not.
  void step() {
    const model::Draw draw = [this](std::uint64_t below) {
      tickets_ = std::min(std::max(tickets_, below), kTicketsMax);
      return ticket_ % below;
    };
    auto target = caller_.identity ? routed(address_, draw) : picked(draw);
    ++ticket_;
    if (!target) {
      if (target.error().code() == ErrorCode::kUnsupported) return finish(fail(std::move(target).error()));
      take(detail::refused(target.error().message()));
      tickets_ = ticket_;
    } else if (seen_.insert(target->workload ? target->workload->uid : "").second) {
      take(detail::judge(facts_, caller_, *target));
    }
    if (ticket_ >= tickets_) finish(sum());
  }

  std::string text() const {
    if (!*result_) return dump({{"id", id_}, {"error", result_->error().message()}});
    const auto& answer = **result_;
    return dump({{"id", id_},
                 {"decision", answer.allowed ? "allow" : "deny"},
                 {"layer", answer.layer},
                 {"kind", or_null(answer.kind)},
                 {"policy", or_null(answer.policy)},
                 {"rule", answer.rule ? Json(*answer.rule) : Json(nullptr)},
                 {"candidates", answer.candidates},
                 {"reason", answer.reason}});
  }

 private:
  static std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }
  void finish(Result<Answer> result) { result_ = std::move(result); }

  // Answers at once, or leaves a service for step().
  Result<void> begin(std::string_view line) {
    if (line.size() > kQuestionMax) return fail(ErrorCode::kLimit, "longer than " + std::to_string(kQuestionMax) + " bytes");
    WEFT_TRY(request_, parse_request(line, id_));
    WEFT_TRY_VOID(find_caller());
    const auto& to = request_.destination;
    if (!to.pod.empty()) {
      auto pod = pod_named(to.pod);
      if (!pod) return unknown("pod", to.pod);
      finish(towards({to.ip ? *to.ip : model::choose_ip(*pod, nullptr, caller_.ip).value_or(IpAddress{}), to.port}, pod));
    } else if (!to.service.empty()) {
      auto service = service_named(to.service);
      if (!service) return unknown("service", to.service);
      WEFT_TRY_VOID(begin_service(std::move(service)));
    } else if (auto pod = snapshot_.workload(facts_.network, *to.ip)) {
      finish(towards({*to.ip, to.port}, pod));
    } else if (auto service = snapshot_.service_by_vip(facts_.network, *to.ip, &caller_.workload.namespace_name)) {
      WEFT_TRY_VOID(begin_service(std::move(service)));
    } else {
      finish(Answer{.reason = "no pod or service of the mesh has the address " + to.ip->to_string() +
                              "; the connection passes as it is"});
    }
    return {};
  }

  // Workloads that no Pod object stands for have uids of other kinds.
  model::WorkloadPtr pod_named(const std::string& name) const {
    if (auto pod = snapshot_.workload(facts_.cluster_id + "//Pod/" + name)) return pod;
    for (const auto& workload : snapshot_.workloads())
      if (detail::name_of(*workload) == name) return workload;
    return nullptr;
  }
  model::ServicePtr service_named(const std::string& name) const {
    const auto slash = name.find('/');
    const model::NamespacedHostname key{name.substr(0, slash), name.substr(slash + 1)};
    auto service =
        snapshot_.service({key.namespace_name, key.hostname + "." + key.namespace_name + ".svc." + facts_.cluster_domain});
    return service ? service : snapshot_.service(key);  // a ServiceEntry is named by its host
  }

  Result<void> find_caller() {
    const auto& from = request_.source;
    model::WorkloadPtr pod;
    if (!from.pod.empty()) {
      pod = pod_named(from.pod);
      if (!pod) return unknown("pod", from.pod);
    } else if (from.ip) {
      pod = snapshot_.workload(facts_.network, *from.ip);
    }
    caller_.identity = from.identity;
    caller_.workload.network = facts_.network;
    if (from.identity) caller_.workload.namespace_name = from.identity->namespace_name;
    pod_ = pod;
    if (pod) caller_.workload = *pod;
    if (from.ip) {
      caller_.ip = *from.ip;
    } else if (pod && !pod->addresses.empty()) {
      caller_.ip = pod->addresses.front();
    }
    return {};
  }

  Result<void> begin_service(model::ServicePtr service) {
    auto port = request_.destination.port;
    if (port == 0) {
      if (service->ports.size() != 1) return fail(ErrorCode::kInvalidArgument, "destination.port is missing");
      port = service->ports.begin()->first;
    }
    if (service->vips.empty()) return fail(ErrorCode::kUnsupported, "the service has no single address");
    address_ = SocketAddress(request_.destination.ip.value_or(service->vips.front().ip), port);
    service_ = std::move(service);
    return {};
  }

  // One pod, addressed directly.
  Result<Answer> towards(const SocketAddress& address, const model::WorkloadPtr& pod) const {
    if (pod == pod_ && !facts_.is_own_port(address.port()))
      return Answer{.reason = "pod " + detail::name_of(*pod) + " calls itself; nothing stands in between"};
    if (!caller_.identity || pod->protocol != model::TunnelProtocol::kHbone)
      return detail::judge(facts_, caller_, {pod, address});
    const model::Draw first = [](std::uint64_t) { return std::uint64_t{0}; };
    auto target = routed(address, first);
    if (target) return detail::judge(facts_, caller_, *target);
    if (target.error().code() == ErrorCode::kUnsupported) return fail(std::move(target).error());
    return detail::refused(target.error().message());
  }

  // As the caller's node proxy sends it.
  Result<Target> routed(const SocketAddress& address, const model::Draw& draw) const {
    WEFT_TRY(auto route, model::choose_route(snapshot_, caller_.workload, caller_.ip, address, facts_.hbone_port, draw));
    if (route.hop_kind != model::HopKind::kWorkload) {
      const bool waypoint = route.hop_kind == model::HopKind::kWaypoint;
      return fail(ErrorCode::kUnsupported, std::string("the connection goes through ") +
                                               (waypoint ? "waypoint " : "gateway ") + detail::name_of(*route.destination) +
                                               ", which decides; that is not explained");
    }
    if (route.kind == model::RouteKind::kPassthrough || route.kind == model::RouteKind::kTcp)
      return Target{route.destination, route.hop};
    WEFT_TRY(auto final_address, SocketAddress::parse(route.authority));
    return Target{route.destination, final_address};
  }

  // As the kernel's service addresses send plain text: to any pod of the service.
  Result<Target> picked(const model::Draw& draw) const {
    auto pick = model::choose_endpoint(snapshot_, caller_.workload, *service_, address_.port(), address_.ip(),
                                       model::UpstreamMode::kStandard, draw);
    if (!pick.workload || !pick.ip) return fail(ErrorCode::kUnavailable, "no healthy upstream: " + address_.to_string());
    return Target{pick.workload, {*pick.ip, pick.port}};
  }

  void take(Answer answer) {
    ++answers_;
    refusals_ += answer.allowed ? 0 : 1;
    if (!told_ || (told_->allowed && !answer.allowed)) told_ = std::move(answer);
  }

  Answer sum() {
    if (refusals_ > 0 && refusals_ < answers_)
      told_->reason += " (" + std::to_string(refusals_) + " of " + std::to_string(answers_) + " pods of the service refuse)";
    return std::move(*told_);
  }

  const Facts& facts_;
  const model::Snapshot& snapshot_;
  Json id_;
  Request request_;
  detail::Caller caller_;
  model::WorkloadPtr pod_;  // the caller's, if it is known
  std::optional<Result<Answer>> result_;

  // Of a service.
  model::ServicePtr service_;
  SocketAddress address_;
  std::uint64_t ticket_ = 0, tickets_ = 1;
  std::set<std::string> seen_;  // uids of pods that were asked
  std::optional<Answer> told_;  // the first refusal, else the first answer
  std::size_t answers_ = 0, refusals_ = 0;
};

Explanation::Explanation(const Facts& facts, std::string_view line) : work_(std::make_unique<Work>(facts, line)) {}
Explanation::~Explanation() = default;

bool Explanation::done() const { return work_->done(); }
void Explanation::step() { work_->step(); }
std::string Explanation::answer() const { return work_->text(); }

std::string explain_line(const Facts& facts, std::string_view line) {
  Explanation explanation(facts, line);
  while (!explanation.done()) explanation.step();
  return explanation.answer();
}

}  // namespace weft::explain
