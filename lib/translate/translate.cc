#include "lib/translate/translate.h"

#include <map>

#include "lib/translate/detail/advice.h"
#include "lib/translate/detail/workloads.h"

namespace weft::translate {
namespace {

using manifest::ObjectPtr;

// What the reader of the file had to say becomes conditions of the object.
void take_problems(ObjectStatus& status) {
  for (const auto& problem : status.object->problems) {
    const auto where = problem.path.empty() ? "" : problem.path + ": ";
    status.find(problem.level, problem.reason, where + problem.message, problem.line);
  }
}

// Accepted leads; FullyApplied is added when nothing was found against it.
void finish(ObjectStatus& status) {
  bool fully = true;
  for (const auto& condition : status.conditions) fully &= condition.type != kFullyApplied;
  status.conditions.insert(status.conditions.begin(), Condition{kAccepted, "True", "Accepted", "", Level::kInfo});
  if (fully) status.conditions.push_back({kFullyApplied, "True", "Accepted", "", Level::kInfo});
}

}  // namespace

Output translate(const std::vector<ObjectPtr>& objects, const Options& options, const Output* before) {
  std::map<std::string, std::size_t> last;
  for (std::size_t i = 0; i < objects.size(); ++i) last[manifest::key_of(*objects[i])] = i;
  std::vector<ObjectPtr> in_force;
  std::vector<std::size_t> position(objects.size(), objects.size());
  for (std::size_t i = 0; i < objects.size(); ++i) {
    if (last[manifest::key_of(*objects[i])] != i) continue;
    position[i] = in_force.size();
    in_force.push_back(objects[i]);
  }

  Output out;
  out.namespaces = known_namespaces(in_force, before ? before->namespaces : KnownNamespaces{});
  auto mesh_config = detail::choose_mesh_config(in_force, options, before ? &before->mesh_config : nullptr);
  detail::World world(in_force, out.namespaces, options, std::move(mesh_config));
  for (auto& status : world.statuses) take_problems(status);

  out.mesh_config = world.mesh.config;
  out.mesh_config_error = world.mesh.error;
  detail::Policies policies;
  detail::translate_authorization_policies(world, policies);
  detail::PeerAuthentications peers(world, policies);
  detail::Waypoints waypoints(world);
  detail::Services services;
  detail::translate_services(world, waypoints, services);
  detail::translate_service_entries(world, waypoints, services);
  detail::settle_conflicts(world, services);
  const detail::Inputs inputs{waypoints, services, policies, peers, out.origins.peer_authentications};
  detail::translate_pods(world, inputs, out.workloads);
  detail::translate_entries(world, inputs, out.workloads);
  detail::translate_slices(world, inputs, out.workloads);
  out.services = std::move(services.services);
  out.policies = std::move(policies.policies);
  out.origins.written_rules = std::move(policies.written_rules);
  out.policy_rules_without_effect = policies.rules_without_effect;
  detail::advise(world);

  for (auto& status : world.statuses) finish(status);
  out.statuses.reserve(objects.size());
  for (std::size_t i = 0; i < objects.size(); ++i) {
    if (position[i] < objects.size()) {
      out.statuses.push_back(std::move(world.statuses[position[i]]));
      continue;
    }
    const auto& winner = *objects[last[manifest::key_of(*objects[i])]];
    const auto message = "replaced by the same object in " + winner.file + ":" + std::to_string(winner.line);
    out.statuses.push_back({objects[i], {{kAccepted, "False", "Replaced", message, Level::kInfo}}});
  }
  return out;
}

}  // namespace weft::translate
