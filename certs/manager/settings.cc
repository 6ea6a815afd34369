#include "certs/manager/settings.h"

#include <CLI/CLI.hpp>
#include <charconv>

#include "lib/base/log.h"
#include "lib/model/identity.h"

namespace weft::certs::manager {
namespace {

// sysexits(3) EX_USAGE.
constexpr int kExitUsage = 64;

constexpr const char* kDescription =
    "weft-certs: the mesh's certificate authority. Signs workload certificates for node proxies over gRPC\n"
    "(istio.v1.auth.IstioCertificateService), each node only for the pods that the manifests place on it.\n";

constexpr const char* kExamples =
    "\nExamples:\n"
    "  # A root is made in the CA folder when it has none; node proxies reach the authority as ca.mesh.example:15012.\n"
    "  weft-certs --listen 0.0.0.0:15012 --server-name ca.mesh.example \\\n"
    "    --ca-dir /var/lib/weft/ca --manifest-dir /etc/weft/manifests --token-dir /var/lib/weft/tokens\n"
    "\n"
    "  # With a root of your own: put Istio's cacerts files (ca-cert.pem, ca-key.pem, cert-chain.pem, root-cert.pem)\n"
    "  # into the CA folder first. Shorter leaves, several server names:\n"
    "  weft-certs --listen '[::]:15012' --server-name ca.mesh.example,10.0.0.10 --certificate-lifetime 20m ...\n"
    "\n"
    "Every flag can be given as an environment variable instead; the flag wins. A node's token is the file of its name in\n"
    "the token folder. Metrics and readiness: http://127.0.0.1:STATUS_PORT/metrics, /healthz/ready.\n"
    "Exit status: 0 after SIGTERM or SIGINT, 1 when it cannot start, 64 for a wrong command line.\n";

Result<Duration> parse_life(const std::string& text) {
  std::int64_t count = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), count);
  const std::string_view unit(end, text.data() + text.size());
  if (problem != std::errc() || count <= 0 || count > 1'000'000) {
    return fail(ErrorCode::kInvalidArgument, "not a duration like 90s, 20m or 1h: " + text);
  }
  Duration life{};
  if (unit == "s")
    life = std::chrono::seconds(count);
  else if (unit == "m")
    life = std::chrono::minutes(count);
  else if (unit == "h")
    life = std::chrono::hours(count);
  else
    return fail(ErrorCode::kInvalidArgument, "not a duration like 90s, 20m or 1h: " + text);
  if (life < kCertificateLifeMin || life > kCertificateLifeMax) {
    return fail(ErrorCode::kInvalidArgument, "must be between 2m and 168h: " + text);
  }
  return life;
}

Result<void> check_trust_domain(const std::string& text) {
  auto identity = model::Identity::parse("spiffe://" + text + "/ns/a/sa/a");
  if (identity && identity->trust_domain == text) return {};
  return fail(ErrorCode::kInvalidArgument, "not a trust domain: " + text);
}

Result<void> add_server_name(const std::string& text, tls::AlternativeNames& names) {
  if (auto ip = IpAddress::parse(text)) {
    names.ips.push_back(*ip);
    return {};
  }
  const auto fine = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '.' || c == '*'; };
  if (text.empty() || text.size() > 253 || !std::all_of(text.begin(), text.end(), fine)) {
    return fail(ErrorCode::kInvalidArgument, "not a DNS name or IP address: " + text);
  }
  names.dns.push_back(text);
  return {};
}

// CLI11 wants "" or the reason.
template <typename Parse>
CLI::Validator check(Parse parse, const std::string& kind) {
  return CLI::Validator(
      [parse](std::string& text) {
        auto parsed = parse(text);
        return parsed ? std::string() : parsed.error().message();
      },
      kind);
}

}  // namespace

std::expected<Settings, int> read_settings(int argc, const char* const* argv) {
  Settings settings;
  std::string listen = "0.0.0.0:15012", life = "1h", log_format = "plain";
  std::vector<std::string> names;

  CLI::App app(kDescription, "weft-certs");
  app.footer(kExamples);
  const auto parse_listen = [](const std::string& text) { return SocketAddress::parse(text); };
  const auto parse_name = [](const std::string& text) {
    tls::AlternativeNames ignored;
    return add_server_name(text, ignored);
  };
  app.add_option("--listen", listen, "where certificates are asked for")
      ->check(check(parse_listen, "ADDR:PORT"))
      ->envname("WEFT_CERTS_LISTEN")
      ->capture_default_str();
  app.add_option("--status-port", settings.status_port, "port of readiness and metrics on 127.0.0.1")
      ->envname("WEFT_CERTS_STATUS_PORT")
      ->capture_default_str();
  app.add_option("--ca-dir", settings.ca_directory, "folder of root, signing certificate and key; made if missing")
      ->required()
      ->envname("WEFT_CERTS_CA_DIR");
  app.add_option("--manifest-dir", settings.manifest_directory, "folder of Kubernetes manifests: which pods run where")
      ->required()
      ->envname("WEFT_CERTS_MANIFEST_DIR");
  app.add_option("--token-dir", settings.token_directory, "folder of one secret file per node; made if missing")
      ->required()
      ->envname("WEFT_CERTS_TOKEN_DIR");
  app.add_option("--server-name", names,
                 "names and addresses node proxies reach us by (several, comma-separated);\n"
                 "the listening address when not given")
      ->delimiter(',')
      ->check(check(parse_name, "NAME"))
      ->envname("WEFT_CERTS_SERVER_NAME");
  app.add_option("--trust-domain", settings.trust_domain, "trust domain of the mesh")
      ->check(check(check_trust_domain, "DOMAIN"))
      ->envname("WEFT_CERTS_TRUST_DOMAIN")
      ->capture_default_str();
  app.add_option("--certificate-lifetime", life, "longest life of a certificate, 2m to 168h")
      ->check(check(parse_life, "DURATION"))
      ->envname("WEFT_CERTS_CERTIFICATE_LIFETIME")
      ->capture_default_str();
  app.add_option("--log", settings.log_filter, "log filter, for example info or warn,audit=info")
      ->check(check(log::set_filter, "FILTER"))
      ->envname("WEFT_CERTS_LOG")
      ->capture_default_str();
  app.add_option("--log-format", log_format, "plain or json")
      ->check(CLI::IsMember({"plain", "json"}))
      ->envname("WEFT_CERTS_LOG_FORMAT")
      ->capture_default_str();
  try {
    app.parse(argc, argv);
    settings.listen = *SocketAddress::parse(listen);
    settings.certificate_life = *parse_life(life);
    settings.log_json = log_format == "json";
    for (const auto& name : names) (void)add_server_name(name, settings.server_names);
    if (names.empty()) {
      if (settings.listen.ip().is_unspecified()) {
        throw CLI::RequiredError("--server-name (because --listen names no address)");
      }
      settings.server_names.ips.push_back(settings.listen.ip());
    }
    return settings;
  } catch (const CLI::ParseError& end) {
    return std::unexpected(app.exit(end) == 0 ? 0 : kExitUsage);
  }
}

}  // namespace weft::certs::manager
