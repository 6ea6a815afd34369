// The mesh configuration and the other objects an installation leaves in the root namespace.
#include <set>

#include "lib/manifest/documents.h"
#include "lib/translate/detail/advice.h"
#include "lib/translate/detail/tree.h"

namespace weft::translate::detail {
namespace {

using manifest::Reader;

// Of Jaeger and Zipkin: they speak Thrift or JSON over HTTP, not OTLP and not Envoy's access-log service.
constexpr std::string_view kTracePorts[] = {"14268", "14250", "9411", "6831", "6832"};

// Providers that a Telemetry of the mesh names.
std::set<std::string> providers_in_use(const World& world) {
  std::set<std::string> out;
  for (const auto& item : world.untyped) {
    if (!is_kind(item, "telemetry.istio.io", "Telemetry")) continue;
    const Tree tree(item);
    for (const char* part : {"tracing", "metrics", "accessLogging"}) {
      for (const auto& entry : tree.spec().list(part)) {
        for (const auto& provider : entry.list("providers")) out.insert(provider.text("name"));
      }
    }
  }
  return out;
}

// One mesh-configuration text. Paths begin with "data.mesh".
class MeshText {
 public:
  MeshText(const World& world, const Item<manifest::ConfigMap>& item, const manifest::Value& text)
      : world_(world), status_(*item.status), mesh_(&text, "data.mesh", &problems_) {}

  void advise(const std::set<std::string>& in_use) {
    auto used = in_use;
    for (const char* part : {"tracing", "metrics", "accessLogging"}) {
      for (const auto& name : mesh_.map("defaultProviders").texts(part)) used.insert(name);
    }
    for (const auto& provider : mesh_.list("extensionProviders")) advise_provider(provider, used);
    const auto defaults = mesh_.map("defaultConfig");
    if (auto matcher = defaults.map("proxyStatsMatcher"))
      find(
          Level::kInfo, "Interpreted", matcher,
          "names statistics of Envoy, which this mesh does not run; the node proxy keeps all its own series, and no pattern "
          "matches any of them");
    if (auto delay = defaults.any("discoveryRefreshDelay"))
      find(Level::kInfo, "FieldIgnored", delay, "deprecated and without effect; ignored");
    if (auto threads = defaults.any("concurrency"))
      find(Level::kInfo, "Interpreted", threads,
           "worker threads of waypoints and gateways; the node proxy has its own setting, ZTUNNEL_WORKER_THREADS");
    for (const auto& problem : problems_.items())
      status_.find(problem.level, problem.reason, problem.path + ": " + problem.message);
  }

  // Only of the text that counts: what it leaves out has its default.
  void whole() {
    if (auto aliases = mesh_.any("trustDomainAliases"); aliases && !aliases.value()->items.empty())
      find(Level::kInfo, "Info", aliases,
           "policies take them for the trust domain; node proxies still accept peers of the trust domain itself only");
    if (auto selectors = mesh_.any("discoverySelectors"); selectors && !selectors.value()->items.empty())
      find(Level::kWarning, "FieldIgnored", selectors, "every namespace is seen and its policies are enforced; ignored");
    std::string lost;
    for (const char* key : {"rootNamespace", "trustDomain", "extensionProviders"}) {
      if (!mesh_.any(key)) lost += (lost.empty() ? "" : ", ") + std::string(key);
    }
    if (!lost.empty())
      status_.find(Level::kWarning, "Info",
                   "data.mesh: is the whole mesh configuration; what it does not name (" + lost +
                       ") has its default, whatever an earlier version said");
  }

 private:
  void advise_provider(const Reader& provider, const std::set<std::string>& used) {
    const auto name = provider.text("name");
    if (!used.contains(name))
      find(Level::kInfo, "Info", provider,
           "provider " + shown(name) + " is used by no Telemetry and is not in defaultProviders, so it changes nothing");
    for (const char* kind : {"envoyOtelAls", "opentelemetry", "envoyHttpAls", "envoyTcpAls"}) {
      const auto settings = provider.map(kind);
      if (!settings) continue;
      const auto service = settings.text("service");
      const auto port = settings.text("port");
      const bool traces = std::find(std::begin(kTracePorts), std::end(kTracePorts), port) != std::end(kTracePorts) ||
                          name.find("jaeger") != name.npos || name.find("zipkin") != name.npos;
      if (traces && std::string_view(kind) != "opentelemetry")
        find(Level::kWarning, "Interpreted", settings,
             "a provider for access logs; where Telemetry names it for tracing it is taken as opentelemetry");
      if (std::find(std::begin(kTracePorts), std::end(kTracePorts), port) != std::end(kTracePorts))
        find(Level::kWarning, "WrongPortForProtocol", settings.any("port"),
             "port " + port + " of a trace collector does not speak OTLP; gRPC for OTLP listens on 4317");
      no_such_service(settings.any("service"), service);
    }
  }

  void no_such_service(const Reader& field, const std::string& service) {
    const auto slash = service.find('/');
    const auto host = service.substr(slash == service.npos ? 0 : slash + 1);
    // Only names of this cluster can be looked up here.
    if (!host.ends_with(".svc." + world_.options.cluster_domain) || service_exists(world_, host)) return;
    find(Level::kWarning, "ReferenceNotFound", field, "no Service " + shown(host) + "; proxies run without it");
  }

  void find(Level level, const char* reason, const Reader& at, const std::string& message) {
    status_.find(level, reason, at.path() + ": " + message);  // lines count inside the text, not in the file
  }

  const World& world_;
  ObjectStatus& status_;
  manifest::Problems problems_;
  const Reader mesh_;
};

void config_map(const World& world, const Item<manifest::ConfigMap>& item, const std::set<std::string>& in_use) {
  if (item.meta().namespace_ != world.system_namespace) return;
  const auto& data = item.body->data;
  if (item.meta().name == "istio-sidecar-injector")
    item.status->find(
        Level::kWarning, "NoEffectInAmbient",
        "data: a template for sidecars, and no sidecar is injected; resources of the proxies are set where the "
        "node proxy and the waypoints are installed");
  const bool counts = item.meta().name == "istio";
  if (counts && !world.mesh.error.empty()) return item.status->find(Level::kError, "InvalidValue", world.mesh.error);
  const auto found = data.find("mesh");
  if (found == data.end()) return;
  if (!counts)
    item.status->find(Level::kWarning, "NotMeshConfig",
                      "data.mesh: not the mesh configuration, which is ConfigMap istio; merge it into that one");
  const auto read = manifest::read_yaml(found->second, {});
  if (read.error || read.values.size() > 1 || (!read.values.empty() && !read.values[0].is_map())) {
    item.status->find(Level::kError, "InvalidValue",
                      "data.mesh: " + (read.error ? read.error->message : "expected one map of settings"));
    return;
  }
  static const manifest::Value kNothing;
  MeshText text(world, item, read.values.empty() ? kNothing : read.values[0]);
  text.advise(in_use);
  if (counts) text.whole();
}

// Whether base64 text holds PEM: its first bytes are those of "-----BEGIN", and nothing else is in it. Never quoted.
bool is_pem(const std::string& text) {
  return text.starts_with("LS0tLS1CRUdJTi") && text.find_first_not_of(
                                                   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                                   "0123456789+/=\n") == text.npos;
}

void certificates(const World& world, const Item<manifest::Untyped>& item) {
  if (item.meta().name != "cacerts" || item.meta().namespace_ != world.system_namespace) return;
  const Tree tree(item);
  for (const auto& [key, field] : tree.root().entries("data")) {
    if (key.ends_with(".pem") && !is_pem(field.as_text().value_or("")))
      tree.find(Level::kError, "InvalidCertificate", field, "is no PEM text in base64; it cannot be used");
  }
}

}  // namespace

void advise_mesh_config(World& world) {
  const auto in_use = providers_in_use(world);
  for (const auto& item : world.config_maps) config_map(world, item, in_use);
  for (const auto& item : world.untyped) {
    if (is_kind(item, "", "Secret")) certificates(world, item);
  }
}

}  // namespace weft::translate::detail
