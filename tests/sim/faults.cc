#include "tests/sim/faults.h"

#include "lib/base/log.h"

namespace weft::simulation {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr const char* kGarbage = "{ this: [is no document";

PolicyFacts draw_policy(const MeshFacts& facts, Random& random) {
  PolicyFacts policy;
  policy.action = random.below(2) == 0 ? PolicyFacts::Action::kAllow : PolicyFacts::Action::kDeny;
  const auto pod = random.below(facts.pods.size());
  policy.namespace_name = facts.pods[pod].namespace_name;
  if (random.below(3) != 0) policy.selects = pod;
  if (random.below(2) == 0)
    policy.from_pod = random.below(facts.pods.size());
  else
    policy.from_namespace = facts.pods[random.below(facts.pods.size())].namespace_name;
  if (random.below(4) == 0) policy.port = random.below(2) == 0 ? kClientFirstPort : kServerFirstPort;
  return policy;
}

}  // namespace

MeshFacts with_security(MeshFacts facts, Random& random) {
  facts.strict_namespaces.clear();
  facts.policies.clear();
  for (const char* name : {"red", "blue"}) {
    if (random.below(2) == 0) facts.strict_namespaces.emplace_back(name);
  }
  const auto count = random.below(3);
  for (std::uint64_t i = 0; i < count; ++i) facts.policies.push_back(draw_policy(facts, random));
  return facts;
}

Faults::Faults(Mesh& mesh, Random& random) : mesh_(mesh), random_(random) {
  if (random.below(2) == 0) noise_.short_read = 0.2 * random.unit();
  if (random.below(2) == 0) noise_.short_write = 0.2 * random.unit();
  mesh_.internet().faults() = noise_;
}

void Faults::network(const char* what, Field field, double chance, Duration length) {
  mesh_.watch().say(fmt::format("fault: {} {:.2f}", what, chance));
  mesh_.internet().faults().*field = chance;
  mesh_.world().after(length, [this, field] { mesh_.internet().faults().*field = 0; });
}

void Faults::jump(Duration by, Duration length) {
  mesh_.watch().say(fmt::format("fault: the clock jumps by {} s", std::chrono::duration_cast<seconds>(by).count()));
  auto& clock = mesh_.world().clock();
  clock.set_wall(clock.wall() + by);
  clock_off_ += by;
  mesh_.world().after(length, [this, by] {
    if (over_) return;
    auto& later = mesh_.world().clock();
    later.set_wall(later.wall() - by);
    clock_off_ -= by;
  });
}

void Faults::lose(Role role, std::size_t node, Duration away) {
  if (random_.below(3) == 0)
    mesh_.restart(role, node, away);
  else
    mesh_.kill(role, node, away);
}

void Faults::change_policies() {
  mesh_.watch().say("policies change");
  mesh_.change(with_security(mesh_.facts(), random_));
}

void Faults::toggle_label(std::size_t pod) {
  MeshFacts facts = mesh_.facts();
  facts.pods[pod].labelled = !facts.pods[pod].labelled;
  mesh_.watch().say(fmt::format("{} is {} labelled", facts.pods[pod].name, facts.pods[pod].labelled ? "now" : "no longer"));
  mesh_.change(std::move(facts));
}

void Faults::replace_pod(std::size_t pod, Duration gap) {
  const auto& facts = mesh_.facts();
  std::string account = facts.pods[pod].account;
  if (random_.below(2) == 0) account = account.starts_with("other-") ? facts.pods[pod].name : "other-" + account;
  mesh_.replace_pod(pod, std::move(account), gap);
}

void Faults::break_file(const std::string& path, Duration length) {
  if (broken_.contains(path)) return;
  mesh_.watch().say("fault: broken file " + path);
  auto& files = mesh_.files();
  const auto found = files.files.find(path);
  broken_[path] = found == files.files.end() ? std::string() : found->second.content;
  files.put(path, kGarbage);
  mesh_.world().after(length, [this, path] { mend_file(path); });
}

void Faults::mend_file(const std::string& path) {
  const auto found = broken_.find(path);
  if (found == broken_.end()) return;
  if (found->second.empty())
    mesh_.files().erase(path);
  else
    mesh_.files().put(path, found->second, 0600);
  broken_.erase(found);
}

void Faults::fail_rules(std::size_t node, Duration length) {
  mesh_.watch().say("fault: rules cannot be changed on " + node_name(node));
  mesh_.spaces(node).failing = 0.6;
  mesh_.world().after(length, [this, node] { mesh_.spaces(node).failing = 0; });
}

void Faults::fill_disk(Duration length) {
  mesh_.watch().say("fault: the disk is full");
  mesh_.files().full = true;
  mesh_.world().after(length, [this] { mesh_.files().full = false; });
}

std::function<void()> Faults::one(std::uint64_t kind) {
  const Duration length = milliseconds(500 + random_.below(4'000));
  const Duration away = milliseconds(random_.below(3'000));
  const std::size_t node = random_.below(2);
  const double chance = random_.unit();
  switch (kind) {
    case 0: return [this, chance, length] { network("resets", &sim::Faults::reset, 0.05 * chance, length); };
    case 1: return [this, chance, length] { network("delays", &sim::Faults::delay, 0.3 * chance, length); };
    case 2: return [this, chance, length] { network("no buffers", &sim::Faults::no_buffers, 0.05 * chance, length); };
    case 3: return [this, chance, length] { network("no sockets", &sim::Faults::no_sockets, 0.5 * chance, length); };
    case 4: return [this, chance, length] { network("refused", &sim::Faults::refuse, 0.5 * chance, length); };
    case 5: return [this, chance, length] { network("hanging", &sim::Faults::hang, 0.3 * chance, length); };
    case 6: {
      const Duration jumps[] = {hours(24 * 365), -hours(24 * 365), hours(1), -hours(1), seconds(90), -seconds(90)};
      return [this, by = jumps[random_.below(6)], length] { jump(by, length); };
    }
    case 7:
    case 8: return [this, node, away] { lose(Role::kProxy, node, away); };
    case 9: return [this, node, away] { lose(Role::kAgent, node, away); };
    case 10: return [this, away] { lose(Role::kAuthority, 0, away * 10); };
    case 11:
    case 12:
    case 13: return [this] { change_policies(); };
    case 14: return [this, pod = random_.below(mesh_.facts().pods.size())] { toggle_label(pod); };
    case 15: return [this, length] { break_file("/ca/ca-key.pem", length); };
    case 16: return [this, length] { break_file("/state/zz-broken.yaml", length); };
    case 17: return [this, node, length] { fail_rules(node, length); };
    case 18: return [this, length] { fill_disk(length); };
    default: {
      const auto pod = random_.below(mesh_.facts().pods.size());
      return [this, pod, gap = random_.below(2) == 0 ? Duration{} : away] { replace_pod(pod, gap); };
    }
  }
}

std::vector<Faults::Fault> Faults::draw(Duration length) {
  std::vector<Fault> faults;
  // Every eighth run has none: what then fails needs no excuse.
  const auto count = random_.below(8) == 0 ? 0 : 5 + random_.below(5);
  for (std::uint64_t i = 0; i < count; ++i) {
    const Duration at(random_.below(static_cast<std::uint64_t>(length.count())));
    faults.push_back({at, one(random_.below(21))});
  }
  return faults;
}

void Faults::end() {
  mesh_.watch().say("the faults end");
  over_ = true;
  mesh_.internet().faults() = noise_;
  auto& clock = mesh_.world().clock();
  clock.set_wall(clock.wall() - clock_off_);
  for (const auto& path : std::map(broken_)) mend_file(path.first);
  for (std::size_t node : {0U, 1U}) mesh_.spaces(node).failing = 0;
  mesh_.files().full = false;
}

}  // namespace weft::simulation
