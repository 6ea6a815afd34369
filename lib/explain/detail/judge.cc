#include "lib/explain/detail/judge.h"

#include "lib/model/admit.h"
#include "lib/model/authorize.h"

namespace weft::explain::detail {
namespace {

// The object a policy was made of, and the rule as it is numbered there.
void take_origin(const Facts& facts, const model::Policy& policy, std::optional<std::size_t> rule,
                 const model::Workload& pod, Answer& answer) {
  answer.kind = "AuthorizationPolicy";
  answer.policy = policy.key();
  if (facts.origins) {
    if (auto written = facts.origins->written_rules.find(answer.policy); written != facts.origins->written_rules.end()) {
      if (rule && *rule < written->second.size()) answer.rule = written->second[*rule];
      return;
    }
  } else if (!translate::is_converted(policy)) {
    answer.rule = rule;
    return;
  }
  answer.kind = "PeerAuthentication";
  if (!facts.origins) return;
  auto origin = facts.origins->peer_authentications.find(pod.uid);
  if (origin != facts.origins->peer_authentications.end()) answer.policy = origin->second;
}

Answer describe(const Facts& facts, const model::Verdict& verdict, const model::Workload& pod) {
  Answer answer{.allowed = verdict.allowed};
  for (const auto& candidate : verdict.candidates) answer.candidates.push_back(candidate->key());
  if (verdict.policy) {
    answer.layer = "l4";
    take_origin(facts, *verdict.policy, verdict.rule, pod, answer);
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

}  // namespace

std::string name_of(const model::Workload& workload) { return workload.namespace_name + "/" + workload.name; }

Answer refused(std::string reason) { return {.allowed = false, .reason = std::move(reason)}; }

Answer judge(const Facts& facts, const Caller& caller, const Target& target) {
  if (!target.workload)
    return {.reason = target.address.to_string() + " is outside the mesh; the connection passes as it is"};
  const auto& pod = *target.workload;
  if (pod.protocol != model::TunnelProtocol::kHbone)
    return {.reason = "pod " + name_of(pod) + " is not in the mesh; nothing enforces policies there"};
  auto address = target.address;
  if (caller.identity) {
    auto admitted = model::admit(*facts.snapshot, pod, address.ip(), address, "", facts.is_own_port);
    if (const auto* refusal = std::get_if<model::Refusal>(&admitted)) return refused(refusal->message);
    address = std::get<model::Admission>(admitted).upstream;
  } else if (facts.is_own_port(address.port())) {
    return refused("attempted recursive call to ourselves");
  }
  const auto verdict =
      model::authorize(*facts.snapshot, pod, {.source_ip = caller.ip, .peer = caller.identity, .destination = address});
  auto answer = describe(facts, verdict, pod);
  answer.reason += " at pod " + name_of(pod);
  if (!verdict.allowed && !caller.identity) answer.reason += "; the caller's text is plain and proves no identity";
  if (facts.assumed_namespaces.contains(pod.namespace_name))
    answer.reason += "; namespace " + pod.namespace_name + " is not described and taken to be in the mesh";
  if (!verdict.dry_run_matches.empty())
    answer.reason += "; dry-run policy " + verdict.dry_run_matches.front()->key() + " matches and is not enforced";
  return answer;
}

}  // namespace weft::explain::detail
