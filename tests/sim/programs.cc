#include "tests/sim/programs.h"

#include "lib/base/check.h"
#include "lib/base/log.h"

namespace weft::simulation {
namespace {

class NoNames final : public io::Resolver {
  Task<Result<std::vector<IpAddress>>> resolve(std::string host, StopToken) override {
    co_return fail(ErrorCode::kNotFound, "resolve " + host + ": no such name");
  }
};

class Authority final : public Program {
 public:
  Authority(sim::World& world, sim::Internet& internet, Machine& machine, Duration certificate_life)
      : Program(world, internet, machine, "weft-certs") {
    certs::manager::Settings settings;
    settings.listen = SocketAddress(IpAddress(), 15012);
    settings.ca_directory = "/ca";
    settings.manifest_directory = "/state";
    settings.token_directory = "/tokens";
    settings.server_names = {.ips = {*IpAddress::parse(kAuthorityAddress)}};
    settings.certificate_life = certificate_life;
    app_ = std::make_unique<certs::manager::App>(loop_, *network_, files_, std::move(settings));
    loop_.post([this] { scope_.spawn(run(*app_, stop_.token(), exit_code_, begun_)); });
  }
  ~Authority() override {
    app_.reset();
    retire();
  }

 private:
  static Task<void> run(certs::manager::App& app, StopToken stop, int& exit_code, bool& begun) {
    begun = true;
    if (auto started = app.start(); !started) {
      WEFT_LOG(kError, "ca", "cannot start", {"error", started.error().message()});
      exit_code = 1;
      co_return;
    }
    co_await app.run(stop);
  }
  std::unique_ptr<certs::manager::App> app_;
};

class Agent final : public Program {
 public:
  Agent(sim::World& world, sim::Internet& internet, Machine& machine)
      : Program(world, internet, machine, "weft-agent-" + machine.name),
        pod_network_(world, loop_, machine.spaces),
        unix_networks_(internet.networks(*machine.unix_host, loop_)),
        unix_network_(unix_networks_->own()) {
    auto settings = cni::agent::load_settings({{"NODE_NAME", machine.name},
                                               {"MANIFEST_DIR", "/state"},
                                               {"CNI_AGENT_RUN_DIR", "/run/" + machine.name},
                                               {"ZTUNNEL_UDS_ADDRESS", "/run/ztunnel.sock"}},
                                              {});
    WEFT_CHECK(settings.has_value());
    const auto listen_unix = [this](const std::string& path, unsigned) {
      const std::uint16_t port = path.ends_with("/pluginevent.sock") ? kPluginEvents : kPluginLog;
      return unix_network_->listen(SocketAddress(IpAddress::loopback(false), port), {});
    };
    cni::agent::Platform platform{loop_, *network_, packets_, files_, pod_network_, listen_unix, ""};
    app_ = std::make_unique<cni::agent::App>(std::move(platform), std::move(*settings));
    loop_.post([this] { scope_.spawn(run(*app_, stop_.token(), exit_code_, begun_)); });
  }
  ~Agent() override {
    app_.reset();
    retire();
  }

 private:
  static Task<void> run(cni::agent::App& app, StopToken stop, int& exit_code, bool& begun) {
    begun = true;
    if (auto started = app.start(); !started) {
      WEFT_LOG(kError, "agent", "cannot start", {"error", started.error().message()});
      exit_code = 1;
      co_return;
    }
    co_await app.run(stop);
  }
  SimPodNetwork pod_network_;
  std::unique_ptr<io::NetworkFactory> unix_networks_;
  io::NetworkPtr unix_network_;
  std::unique_ptr<cni::agent::App> app_;
};

ztunnel::Settings proxy_settings(const std::string& node, const ProxyOptions& options) {
  auto settings = ztunnel::load_settings({{"NODE_NAME", node},
                                          {"XDS_ADDRESS", ""},
                                          {"MANIFEST_DIR", "/state"},
                                          {"CA_ADDRESS", std::string("https://") + kAuthorityAddress + ":15012"},
                                          {"CA_ROOT_CA", "/ca/root-cert.pem"},
                                          {"AUTH_TOKEN", "/tokens/" + node},
                                          {"INPOD_UDS", "/run/ztunnel.sock"},
                                          {"ZTUNNEL_WORKER_THREADS", std::to_string(options.workers)},
                                          {"POOL_MAX_STREAMS_PER_CONNECTION", std::to_string(options.streams_max)},
                                          {"POOL_UNUSED_RELEASE_TIMEOUT", "10s"},
                                          {"CONNECTION_TERMINATION_DEADLINE", "2s"}},
                                         options.workers);
  if (!settings) WEFT_LOG(kError, "sim", "settings", {"error", settings.error().message()});
  WEFT_CHECK(settings.has_value());
  return std::move(*settings);
}

class Proxy final : public Program {
 public:
  Proxy(sim::World& world, sim::Internet& internet, Machine& machine, const ProxyOptions& options)
      : Program(world, internet, machine, "ztunnel-" + machine.name) {
    ztunnel::Surroundings around{loop_, *network_, files_, names_, packets_, {}};
    for (unsigned i = 0; i < options.workers; ++i) {
      auto& worker = process_.make_loop("worker-" + std::to_string(i));
      worker_networks_.push_back(internet.networks(*machine.host, worker));
      around.workers.push_back({worker, *worker_networks_.back()});
    }
    app_ = std::make_unique<ztunnel::App>(proxy_settings(machine.name, options), std::move(around));
    loop_.post([this] { scope_.spawn(run(*app_, stop_.token(), exit_code_, begun_)); });
  }
  ~Proxy() override {
    app_.reset();
    retire();
  }

 private:
  static Task<void> run(ztunnel::App& app, StopToken stop, int& exit_code, bool& begun) {
    begun = true;
    auto code = co_await app.run(stop);
    exit_code = code;
  }
  NoNames names_;
  std::vector<std::unique_ptr<io::NetworkFactory>> worker_networks_;
  std::unique_ptr<ztunnel::App> app_;
};

}  // namespace

Program::Program(sim::World& world, sim::Internet& internet, Machine& machine, const std::string& name)
    : world_(world),
      internet_(internet),
      machine_(machine),
      process_(internet, machine.sockets, name),
      loop_(process_.make_loop("control")),
      networks_(internet.networks(*machine.host, loop_)),
      network_(networks_->own()),
      files_(loop_, machine.files),
      packets_(world, loop_, machine.sockets),
      scope_(loop_) {}

Program::~Program() { process_.retire(); }

void Program::kill() {
  process_.kill();
  stop();
}

ProgramPtr start_authority(sim::World& world, sim::Internet& internet, Machine& machine, Duration certificate_life) {
  return std::make_unique<Authority>(world, internet, machine, certificate_life);
}

ProgramPtr start_agent(sim::World& world, sim::Internet& internet, Machine& machine) {
  return std::make_unique<Agent>(world, internet, machine);
}

ProgramPtr start_proxy(sim::World& world, sim::Internet& internet, Machine& machine, const ProxyOptions& options) {
  return std::make_unique<Proxy>(world, internet, machine, options);
}

}  // namespace weft::simulation
