#include "tools/weftctl/explain.h"

#include <set>

#include "lib/model/admit.h"
#include "lib/model/authorize.h"
#include "lib/model/balance.h"
#include "lib/model/route.h"
#include "tools/weftctl/request.h"
#include "ztunnel/settings.h"

namespace weft::ctl {
namespace {

using Json = nlohmann::ordered_json;
using translate::Output;

// A service of more than this weight is asked about in part; a Service of a thousand pods has a thousand.
constexpr std::uint64_t kTicketsMax = 4096;

struct Answer {
  bool allowed = true;
  std::string layer = "none";  // who decided: "l4", "l7", "none"
  std::string kind, policy;    // of the object that decided; empty when none did
  std::optional<std::size_t> rule;
  std::vector<std::string> candidates;
  std::string reason;
};

// A pod and a port on it that the connection may end at.
struct Target {
  model::WorkloadPtr workload;  // null: an address outside the mesh
  SocketAddress address;
};

std::string name_of(const model::Workload& workload) { return workload.namespace_name + "/" + workload.name; }

class Explanation {
 public:
  Explanation(const Inventory& inventory, const translate::Options& options, const Request& request)
      : output_(inventory.output), snapshot_(*inventory.snapshot), options_(options), request_(request) {}

  Result<Answer> answer() {
    WEFT_TRY_VOID(find_source());
    const auto& to = request_.destination;
    if (!to.pod.empty()) {
      auto pod = pod_named(to.pod);
      if (!pod) return unknown("pod", to.pod);
      return towards({to.ip ? *to.ip : model::choose_ip(*pod, nullptr, source_ip_).value_or(IpAddress{}), to.port}, pod);
    }
    if (!to.service.empty()) {
      auto service = service_named(to.service);
      if (!service) return unknown("service", to.service);
      return towards_service(service);
    }
    if (auto pod = snapshot_.workload(options_.network, *to.ip)) return towards({*to.ip, to.port}, pod);
    if (auto service = snapshot_.service_by_vip(options_.network, *to.ip, &source_.namespace_name))
      return towards_service(service);
    return Answer{.reason = "no pod or service of the mesh has the address " + to.ip->to_string() +
                            "; the connection passes as it is"};
  }

 private:
  static std::unexpected<Error> unknown(const char* what, const std::string& name) {
    return fail(ErrorCode::kNotFound, "unknown " + std::string(what) + ": " + name);
  }

  model::WorkloadPtr pod_named(const std::string& name) const {
    return snapshot_.workload(options_.cluster_id + "//Pod/" + name);
  }
  model::ServicePtr service_named(const std::string& name) const {
    const auto slash = name.find('/');
    const model::NamespacedHostname key{name.substr(0, slash), name.substr(slash + 1)};
    auto service =
        snapshot_.service({key.namespace_name, key.hostname + "." + key.namespace_name + ".svc." + options_.cluster_domain});
    return service ? service : snapshot_.service(key);  // a ServiceEntry is named by its host
  }

  Result<void> find_source() {
    const auto& from = request_.source;
    model::WorkloadPtr pod;
    if (!from.pod.empty()) {
      pod = pod_named(from.pod);
      if (!pod) return unknown("pod", from.pod);
    } else if (from.ip) {
      pod = snapshot_.workload(options_.network, *from.ip);
    }
    source_.network = options_.network;
    if (from.identity) source_.namespace_name = from.identity->namespace_name;
    if (pod) source_ = *pod;
    if (from.ip) {
      source_ip_ = *from.ip;
    } else if (pod && !pod->addresses.empty()) {
      source_ip_ = pod->addresses.front();
    }
    return {};
  }

  // A service can lead to several pods; one that refuses is worth more than those that do not.
  Result<Answer> towards_service(const model::ServicePtr& service) {
    auto port = request_.destination.port;
    if (port == 0) {
      if (service->ports.size() != 1) return fail(ErrorCode::kInvalidArgument, "destination.port is missing");
      port = service->ports.begin()->first;
    }
    if (service->vips.empty()) return fail(ErrorCode::kUnsupported, "the service has no single address");
    const SocketAddress address(request_.destination.ip.value_or(service->vips.front().ip), port);
    std::vector<Answer> answers;
    std::set<std::string> seen;
    std::uint64_t tickets = 1;
    for (std::uint64_t ticket = 0; ticket < tickets; ++ticket) {
      const model::Draw draw = [&](std::uint64_t below) {
        tickets = std::min(std::max(tickets, below), kTicketsMax);
        return ticket % below;
      };
      auto target = request_.source.identity ? routed(address, draw) : picked(*service, address, draw);
      if (!target) {
        if (target.error().code() == ErrorCode::kUnsupported) return fail(std::move(target).error());
        answers.push_back(refused(target.error().message()));
        break;
      }
      if (!seen.insert(target->workload ? target->workload->uid : "").second) continue;
      answers.push_back(judge(*target));
    }
    const auto denied = std::find_if(answers.begin(), answers.end(), [](const Answer& a) { return !a.allowed; });
    if (denied == answers.end()) return answers.front();
    const auto count = std::count_if(answers.begin(), answers.end(), [](const Answer& a) { return !a.allowed; });
    if (static_cast<std::size_t>(count) < answers.size())
      denied->reason +=
          " (" + std::to_string(count) + " of " + std::to_string(answers.size()) + " pods of the service refuse)";
    return *denied;
  }

  // One pod, addressed directly.
  Result<Answer> towards(const SocketAddress& address, const model::WorkloadPtr& pod) {
    if (!request_.source.identity || pod->protocol != model::TunnelProtocol::kHbone) return judge({pod, address});
    const model::Draw first = [](std::uint64_t) { return std::uint64_t{0}; };
    auto target = routed(address, first);
    if (target) return judge(*target);
    if (target.error().code() == ErrorCode::kUnsupported) return fail(std::move(target).error());
    return refused(target.error().message());
  }

  // As the caller's node proxy sends it.
  Result<Target> routed(const SocketAddress& address, const model::Draw& draw) const {
    WEFT_TRY(auto route, model::choose_route(snapshot_, source_, source_ip_, address, ztunnel::kHbonePort, draw));
    if (route.hop_kind != model::HopKind::kWorkload) {
      const bool waypoint = route.hop_kind == model::HopKind::kWaypoint;
      return fail(ErrorCode::kUnsupported, std::string("the connection goes through ") +
                                               (waypoint ? "waypoint " : "gateway ") + name_of(*route.destination) +
                                               ", which decides; that is not explained");
    }
    if (route.kind == model::RouteKind::kPassthrough || route.kind == model::RouteKind::kTcp)
      return Target{route.destination, route.hop};
    WEFT_TRY(auto final_address, SocketAddress::parse(route.authority));
    return Target{route.destination, final_address};
  }

  // As the kernel's service addresses send plain text: to any pod of the service.
  Result<Target> picked(const model::Service& service, const SocketAddress& address, const model::Draw& draw) const {
    auto pick = model::choose_endpoint(snapshot_, source_, service, address.port(), address.ip(),
                                       model::UpstreamMode::kStandard, draw);
    if (!pick.workload || !pick.ip) return fail(ErrorCode::kUnavailable, "no healthy upstream: " + address.to_string());
    return Target{pick.workload, {*pick.ip, pick.port}};
  }

  static Answer refused(std::string reason) { return {.allowed = false, .reason = std::move(reason)}; }

  // As the node proxy of the destination decides.
  Answer judge(const Target& target) const {
    if (!target.workload)
      return {.reason = target.address.to_string() + " is outside the mesh; the connection passes as it is"};
    const auto& pod = *target.workload;
    if (pod.protocol != model::TunnelProtocol::kHbone)
      return {.reason = "pod " + name_of(pod) + " is not in the mesh; nothing enforces policies there"};
    auto address = target.address;
    if (request_.source.identity) {
      auto admitted = model::admit(snapshot_, pod, address.ip(), address, "", ztunnel::is_illegal_port);
      if (const auto* refusal = std::get_if<model::Refusal>(&admitted)) return refused(refusal->message);
      address = std::get<model::Admission>(admitted).upstream;
    } else if (ztunnel::is_illegal_port(address.port())) {
      return refused("attempted recursive call to ourselves");
    }
    const auto verdict = model::authorize(
        snapshot_, pod, {.source_ip = source_ip_, .peer = request_.source.identity, .destination = address});
    auto answer = describe(verdict, pod);
    answer.reason += " at pod " + name_of(pod);
    if (!verdict.allowed && !request_.source.identity)
      answer.reason += "; the caller's text is plain and proves no identity";
    if (!verdict.dry_run_matches.empty())
      answer.reason += "; dry-run policy " + verdict.dry_run_matches.front()->key() + " matches and is not enforced";
    return answer;
  }

  Answer describe(const model::Verdict& verdict, const model::Workload& pod) const {
    Answer answer{.allowed = verdict.allowed};
    for (const auto& candidate : verdict.candidates) answer.candidates.push_back(candidate->key());
    if (verdict.policy) {
      answer.layer = "l4";
      take_origin(*verdict.policy, verdict.rule, pod, answer);
    } else if (!verdict.allowed) {
      answer.layer = "l4";
      answer.kind = "AuthorizationPolicy";
    }
    if (!verdict.allowed) {
      answer.reason = verdict.reason();
    } else if (verdict.policy) {
      answer.reason = "allowed by: " + answer.policy;
      if (answer.rule) answer.reason += ", spec.rules[" + std::to_string(*answer.rule) + "]";
    } else {
      answer.reason = "no policy refuses, and no ALLOW policy covers the connection";
    }
    return answer;
  }

  // The object a policy was made of, and the rule as it is numbered there.
  void take_origin(const model::Policy& policy, std::optional<std::size_t> rule, const model::Workload& pod,
                   Answer& answer) const {
    if (auto written = output_.written_rules.find(policy.key()); written != output_.written_rules.end()) {
      answer.kind = "AuthorizationPolicy";
      answer.policy = policy.key();
      if (rule && *rule < written->second.size()) answer.rule = written->second[*rule];
      return;
    }
    answer.kind = "PeerAuthentication";
    auto origin = output_.peer_authentications.find(pod.uid);
    answer.policy = origin == output_.peer_authentications.end() ? policy.key() : origin->second;
  }

  const Output& output_;
  const model::Snapshot& snapshot_;
  const translate::Options& options_;
  const Request& request_;
  model::Workload source_;  // the caller; of an unknown one only network and namespace
  IpAddress source_ip_;
};

Json or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace

std::string explain_line(const Inventory& inventory, const translate::Options& options, const std::string& line) {
  Json id;
  const auto request = parse_request(line, id);
  if (!request) return dump({{"id", id}, {"error", request.error().message()}});
  const auto answer = Explanation(inventory, options, *request).answer();
  if (!answer) return dump({{"id", id}, {"error", answer.error().message()}});
  return dump({{"id", id},
               {"decision", answer->allowed ? "allow" : "deny"},
               {"layer", answer->layer},
               {"kind", or_null(answer->kind)},
               {"policy", or_null(answer->policy)},
               {"rule", answer->rule ? Json(*answer->rule) : Json(nullptr)},
               {"candidates", answer->candidates},
               {"reason", answer->reason}});
}

}  // namespace weft::ctl
