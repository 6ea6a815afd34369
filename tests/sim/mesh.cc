#include "tests/sim/mesh.h"

#include "lib/admin/client.h"
#include "lib/base/check.h"
#include "lib/base/log.h"

namespace weft::simulation {
namespace {

constexpr Duration kPluginPatience = std::chrono::seconds(5);
constexpr Duration kRetry = std::chrono::seconds(1);
constexpr std::size_t kAuthorityMachine = 2;
// Of one moment: a whole seed has some thousand steps. What goes on beyond this goes on for ever.
constexpr std::size_t kStepsAtOnceMax = 20'000;

IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }

Task<void> stop_traffic(Traffic& traffic, bool& ended) {
  co_await traffic.stop();
  ended = true;
}

}  // namespace

Mesh::Mesh(std::uint64_t seed, MeshOptions options, MeshFacts facts)
    : options_(options),
      world_(seed),
      watch_(world_, history_),
      pods_(facts.pods.size()),
      traffic_(world_, internet_, watch_,
               [this](const IpAddress& address) {
                 const auto& pods = this->facts().pods;
                 for (std::size_t i = 0; i < pods.size(); ++i) {
                   if (pods[i].ip == address) return i;
                 }
                 return pods.size();
               }),
      runtime_loop_(world_.make_loop("runtime")),
      runtime_(runtime_loop_) {
  internet_.tap([this](const sim::Wire& wire, const BufferChain& data) { watch_.on_wire(wire, data); });
  for (std::size_t i = 0; i < machines_.size(); ++i) {
    Machine& machine = machines_[i];
    machine.name = i == kAuthorityMachine ? "authority" : node_name(i);
    machine.host = &internet_.make_host(machine.name,
                                        {ip(i == kAuthorityMachine ? kAuthorityAddress : fmt::format("10.0.0.{}", i + 1))});
    machine.unix_host = &internet_.make_host(machine.name + "/unix", {});
    machine.files = files_;
    machine.sockets = std::make_shared<sim::SocketFiles>();
  }
  history_.add(world_.clock().monotonic(), facts);
  write_manifests(*files_, facts, nullptr);
  slots_.push_back({Role::kAuthority, kAuthorityMachine, "weft-certs", nullptr});
  for (std::size_t node : {0U, 1U}) slots_.push_back({Role::kAgent, node, "weft-agent", nullptr});
  for (std::size_t node : {0U, 1U}) slots_.push_back({Role::kProxy, node, "ztunnel", nullptr});
}

Mesh::~Mesh() = default;

void Mesh::start() {
  running_ = true;
  for (std::size_t i = 0; i < pods_.size(); ++i) runtime_.spawn(start_pod(i));
}

ProgramPtr Mesh::start_program(const Slot& slot) {
  Machine& machine = machines_[slot.node];
  switch (slot.role) {
    case Role::kAuthority: return start_authority(world_, internet_, machine, options_.certificate_life);
    case Role::kAgent: return start_agent(world_, internet_, machine);
    case Role::kProxy: return start_proxy(world_, internet_, machine, options_.proxy);
  }
  return nullptr;
}

void Mesh::tend() {
  for (auto& slot : slots_) {
    if (slot.current && slot.current->ended()) {
      watch_.say(slot.current->name() + " ended");
      slot.current.reset();
      // At this very moment it began, perhaps, and could not start.
      if (slot.start_at <= world_.clock().monotonic()) slot.start_at = world_.clock().monotonic() + kRetry;
      world_.at(slot.start_at, [] {});
    }
    if (slot.current || !slot.wanted || !running_ || world_.clock().monotonic() < slot.start_at) continue;
    // A proxy's volumes must be there before it starts: the root and the node's token.
    if (slot.role == Role::kProxy &&
        (!files_->files.contains("/ca/root-cert.pem") || !files_->files.contains("/tokens/" + machines_[slot.node].name)))
      continue;
    slot.current = start_program(slot);
    watch_.say(slot.current->name() + " starts");
  }
  std::erase_if(ghosts_, [](const ProgramPtr& ghost) { return ghost->ended(); });
}

bool Mesh::step() {
  tend();
  const bool moved = world_.step();
  const auto now = world_.clock().monotonic();
  steps_at_once_ = now == stepped_at_ ? steps_at_once_ + 1 : 0;
  stepped_at_ = now;
  if (steps_at_once_ == kStepsAtOnceMax) watch_.fail("no time passes any more: something is busy with itself");
  return moved && watch_.failure().empty();
}

bool Mesh::run_for(Duration by) {
  bool passed = false;
  world_.after(by, [&passed] { passed = true; });
  while (!passed) {
    if (!step()) return false;
  }
  return true;
}

bool Mesh::run_until(const std::function<bool()>& done, Duration limit) {
  const auto end = world_.clock().monotonic() + limit;
  world_.at(end, [] {});
  while (!done()) {
    if (world_.clock().monotonic() >= end || !step()) return false;
  }
  return true;
}

void Mesh::change(MeshFacts facts) {
  const MeshFacts before = history_.now();
  history_.add(world_.clock().monotonic(), facts);
  write_manifests(*files_, facts, &before);
}

Mesh::Slot& Mesh::slot(Role role, std::size_t node) {
  for (auto& slot : slots_) {
    if (slot.role == role && (role == Role::kAuthority || slot.node == node)) return slot;
  }
  WEFT_CHECK(false && "no such slot");
  return slots_.front();
}

void Mesh::lose(Slot& slot, Duration away) {
  slot.start_at = world_.clock().monotonic() + away;
  world_.at(slot.start_at, [] {});
  ghosts_.push_back(std::move(slot.current));
}

void Mesh::kill(Role role, std::size_t node, Duration away) {
  Slot& which = slot(role, node);
  if (!which.current) return;
  watch_.say("kill " + which.current->name());
  if (role == Role::kProxy) watch_.proxy_killed(which.node);
  which.current->kill();
  lose(which, away);
}

void Mesh::restart(Role role, std::size_t node, Duration away) {
  Slot& which = slot(role, node);
  if (!which.current) return;
  watch_.say("stop " + which.current->name());
  which.current->stop();
  which.start_at = world_.clock().monotonic() + away;
}

Task<Result<void>> Mesh::ask_plugin(std::size_t pod) {
  const PodFacts facts = this->facts().pods[pod];  // they may change meanwhile
  Machine& machine = machines_[facts.node];
  Deadline patience(runtime_loop_, kPluginPatience, {});
  const auto network = internet_.networks(*machine.unix_host, runtime_loop_)->own();
  io::ConnectOptions options;
  auto stream =
      co_await network->connect(SocketAddress(IpAddress::loopback(false), kPluginEvents), options, patience.token());
  if (!stream) co_return fail(std::move(stream).error());
  admin::ClientRequest request;
  request.method = "POST";
  request.target = "/cmdadd";
  request.body =
      fmt::format(R"({{"Netns":"/run/netns/{}","PodName":"{}","PodNamespace":"{}","IPs":[{{"Address":{{"IP":"{}"}}}}]}})",
                  facts.name, facts.name, facts.namespace_name, facts.ip.to_string());
  auto answer = co_await admin::exchange(std::move(*stream), std::move(request), 64 * 1024, patience.token());
  if (!answer) co_return fail(std::move(answer).error());
  if (answer->status != 200) co_return fail(ErrorCode::kUnavailable, answer->body);
  co_return Result<void>{};
}

Task<void> Mesh::start_pod(std::size_t pod) {
  const PodFacts facts = this->facts().pods[pod];
  const std::string name = facts.name;
  sim::Host& host = internet_.make_host(name, {facts.ip});
  pods_[pod].host = &host;
  spaces(facts.node).add(internet_, "/run/netns/" + name, host, {facts.ip});
  // The runtime tries until the plugin agrees; a pod outside the mesh is not the plugin's concern.
  while (this->facts().pods[pod].labelled) {
    auto agreed = co_await ask_plugin(pod);
    watch_.say(fmt::format("plugin for {}: {}", name, agreed ? "yes" : agreed.error().message()));
    if (agreed) {
      if (!host.redirected() && this->facts().pods[pod].labelled)
        watch_.fail("the plugin let " + name + " start without rules");
      break;
    }
    auto slept = co_await sleep_for(runtime_loop_, kRetry, {});
    (void)slept;
  }
  spaces(facts.node).inhabit("/run/netns/" + name, facts.uid);
  traffic_.serve(pod, host);
  pods_[pod].started = true;
  watch_.say(name + " runs");
}

void Mesh::replace_pod(std::size_t pod, std::string account, Duration gap) {
  if (!pods_[pod].started) return;
  pods_[pod].started = false;
  runtime_.spawn(replace(pod, std::move(account), gap));
}

Task<void> Mesh::replace(std::size_t pod, std::string account, Duration gap) {
  MeshFacts before = facts();
  const std::string name = before.pods[pod].name;
  const std::size_t node = before.pods[pod].node;
  watch_.say(name + " is deleted");
  before.pods[pod].exists = false;
  change(std::move(before));
  pods_[pod].host->unplug();
  internet_.reset_connections_of(*pods_[pod].host);
  spaces(node).remove("/run/netns/" + name);
  co_await traffic_.end(pod);
  auto slept = co_await sleep_for(runtime_loop_, gap, {});
  (void)slept;
  MeshFacts after = facts();
  after.pods[pod].exists = true;
  after.pods[pod].uid += "-again";
  after.pods[pod].account = std::move(account);
  change(std::move(after));
  watch_.say(name + " comes again");
  co_await start_pod(pod);
}

Task<void> Mesh::look_at_readiness(sim::Host& host, std::uint16_t port, std::string path, bool& ready) {
  Deadline patience(runtime_loop_, kRetry, {});
  const auto network = internet_.networks(host, runtime_loop_)->own();
  io::ConnectOptions options;
  auto stream = co_await network->connect(SocketAddress(IpAddress::loopback(false), port), options, patience.token());
  if (!stream) co_return;
  admin::ClientRequest request;
  request.target = std::move(path);
  auto answer = co_await admin::exchange(std::move(*stream), std::move(request), 64 * 1024, patience.token());
  ready = answer && answer->status == 200;
}

bool Mesh::settled() {
  for (std::size_t i = 0; i < pods_.size(); ++i) {
    if (!pods_[i].started || pods_[i].host->redirected() != facts().pods[i].labelled) return false;
  }
  std::array<bool, 5> ready{};
  {
    Scope looking(runtime_loop_);
    for (std::size_t node : {0U, 1U}) {
      looking.spawn(look_at_readiness(*machines_[node].host, 15021, "/healthz/ready", ready[node]));
      looking.spawn(look_at_readiness(*machines_[node].host, 8000, "/readyz", ready[2 + node]));
    }
    looking.spawn(look_at_readiness(*machines_[kAuthorityMachine].host, 15013, "/healthz/ready", ready[4]));
    while (looking.running() > 0) {
      tend();
      WEFT_CHECK(world_.step());
    }
  }
  for (const bool one : ready) {
    if (!one) return false;
  }
  return true;
}

void Mesh::finish() {
  bool ended = false;
  runtime_.spawn(stop_traffic(traffic_, ended));
  const Duration limit = std::chrono::minutes(5);
  if (!run_until([&] { return ended && runtime_.running() == 0; }, limit)) {
    return watch_.fail(fmt::format("applications do not end: {} calls", traffic_.running()));
  }
  // Proxies first, so that they must end while the others serve; then all the rest.
  for (const auto role : {Role::kProxy, Role::kAgent, Role::kAuthority}) {
    for (auto& slot : slots_) {
      if (slot.role != role) continue;
      slot.wanted = false;
      if (slot.current) slot.current->stop();
    }
    const auto all_ended = [&] {
      for (auto& slot : slots_) {
        if (slot.role == role && slot.current) return false;
      }
      return true;
    };
    if (!run_until(all_ended, limit)) return watch_.fail("a program does not end");
  }
  if (!run_until([&] { return ghosts_.empty(); }, limit)) return watch_.fail("a killed program does not end");
  if (!run_for(std::chrono::seconds(1))) return;
  if (const auto open = internet_.open_sockets(); open != 0) return watch_.fail(fmt::format("{} sockets are left", open));
  for (const auto& machine : machines_) {
    if (machine.sockets->open != 0)
      return watch_.fail(fmt::format("{} packet sockets are left on {}", machine.sockets->open, machine.name));
  }
}

}  // namespace weft::simulation
