#include "ztunnel/setting_table.h"

#include <limits>

#include "lib/base/check.h"

namespace weft::ztunnel {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t kNoMax = std::numeric_limits<std::int64_t>::max();

constexpr Setting text(std::string_view name, std::string_view default_text, std::string_view help,
                       std::string_view config_key = "") {
  return {name, Setting::Kind::kText, default_text, help, 0, kNoMax, config_key};
}
constexpr Setting boolean(std::string_view name, std::string_view default_text, std::string_view help,
                          std::string_view config_key = "") {
  return {name, Setting::Kind::kBoolean, default_text, help, 0, kNoMax, config_key};
}
constexpr Setting flag(std::string_view name, std::string_view help) { return {name, Setting::Kind::kFlag, "", help}; }
constexpr Setting number(std::string_view name, std::string_view default_text, std::int64_t min, std::int64_t max,
                         std::string_view help, std::string_view config_key = "") {
  return {name, Setting::Kind::kNumber, default_text, help, min, max, config_key};
}
constexpr Setting duration(std::string_view name, std::string_view default_text, Duration min, Duration max,
                           std::string_view help, std::string_view config_key = "") {
  return {name, Setting::Kind::kDuration, default_text, help, min.count(), max.count(), config_key};
}

constexpr Duration kYear = 8760h;
constexpr std::int64_t kPeerMax = 10'000'000;  // more than a node has descriptors for
// SETTINGS_INITIAL_WINDOW_SIZE ends at 2^31-1, a connection's window cannot begin below 65,535 (RFC 9113 §6.5.2, §6.9.2).
constexpr std::int64_t kWindowMax = 0x7fffffff, kConnectionWindowMin = 65'535;
constexpr std::int64_t kFrameMin = 16'384, kFrameMax = 0xffffff;  // RFC 9113 §6.5.2
// What the kernel takes for TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT (tcp(7), net/tcp.h).
constexpr Duration kKeepaliveMax = 32'767s;
constexpr std::int64_t kKeepaliveRetriesMax = 127;

constexpr Setting kTable[] = {
    boolean("ENABLE_PROXY", "true", "Run the proxy. There is nothing else to run yet, so false is an error.", "proxy"),
    text("PROXY_MODE", "shared",
         "shared: a proxy for the pods of a node. dedicated: for one workload, in this process's own network namespace."),
    text("PROXY_WORKLOAD_INFO", "", "Whom dedicated mode serves, namespace/name/service-account; needed there."),

    text("NODE_NAME", "", "The node this proxy serves. Unset: every workload counts as local.", "localNode"),
    text("NETWORK", "", "Network of this node."),
    text("CLUSTER_DOMAIN", "cluster.local", "DNS domain of the cluster.", "clusterDomain"),
    text("ISTIO_META_CLUSTER_ID", "", "Name of the cluster; comes before CLUSTER_ID."),
    text("CLUSTER_ID", "Kubernetes", "Name of the cluster."),
    text("ISTIO_META_ISTIO_VERSION", "unknown", "Version shown in the istio_build metric and by the version command."),
    text("TRUST_DOMAIN", "cluster.local",
         "Trust domain of this proxy's own identity and, unless the mesh configuration names another, of MANIFEST_DIR.",
         "weft.trustDomain"),
    text("POD_NAME", "", "This proxy's own pod. With the next two: its statistics can be scraped through the mesh."),
    text("POD_NAMESPACE", "", "Namespace of this proxy's own pod."),
    text("SERVICE_ACCOUNT", "", "Service account of this proxy's own pod."),
    text("INSTANCE_IP", "1.1.1.1", "Address of this proxy, as told to the control plane."),

    text("XDS_ADDRESS", "https://istiod.istio-system.svc:15012",
         "Control plane. There is no client for it yet: must be set to the empty string."),
    text("XDS_ROOT_CA", "./var/run/secrets/istio/root-cert.pem", "Of XDS_ADDRESS; not read."),
    text("ALT_XDS_HOSTNAME", "", "Of XDS_ADDRESS; not read.", "altXdsHostname"),
    text("XDS_HEADER_", "", "Of XDS_ADDRESS; not read."),
    boolean("XDS_ON_DEMAND", "false", "Of XDS_ADDRESS: true is an error.", "xdsOnDemand"),
    text("PREFERED_SERVICE_NAMESPACE", "", "Of the DNS proxy, which is not built yet; not read.",
         "preferedServiceNamespace"),
    text("LOCAL_XDS_PATH", "", "File of workloads, services and policies, read once at start.", "weft.localXdsPath"),
    text("LOCAL_XDS", "", "The same as text. One of LOCAL_XDS_PATH, LOCAL_XDS and MANIFEST_DIR must be set."),
    text("MANIFEST_DIR", "", "Folder of Kubernetes manifests, watched: the mesh is what they describe.", "weft.manifestDir"),
    text("ROOT_NAMESPACE", "istio-system",
         "Of MANIFEST_DIR: namespace of ConfigMap istio, the mesh configuration, and of the policies that hold everywhere "
         "unless that configuration names another for them.",
         "weft.rootNamespace"),
    text("L7_DENY_AT_L4", "ignore",
         "Of MANIFEST_DIR: what a DENY rule does with HTTP attributes, which this proxy does not see. ignore: they are left "
         "out as Istio does, which may leave a rule that never fires; deny: the rule fires without regard to them.",
         "weft.l7DenyAtL4"),
    text("AMBIENT_ENABLEMENT_SELECTOR", "",
         "Of MANIFEST_DIR: who is in the mesh, as the node agents have it, a YAML list of podSelector and "
         "namespaceSelector. Unset: the labels istio.io/dataplane-mode decide.",
         "weft.enablementSelector"),
    text("EXCLUDE_NAMESPACES", "",
         "Of MANIFEST_DIR: namespaces whose pods are not in the mesh, as the node agents have it, comma-separated.",
         "weft.excludeNamespaces"),

    text("CA_ADDRESS", "https://istiod.istio-system.svc:15012",
         "Certificate authority, https://HOST:PORT. The default is https://localhost:15012 outside Kubernetes."),
    text("CA_ROOT_CA", "./var/run/secrets/istio/root-cert.pem",
         "Roots that vouch for the authority's server: path of a PEM file, SYSTEM, or PEM text."),
    text("ALT_CA_HOSTNAME", "", "Another server name accepted in the authority's certificate.", "altCaHostname"),
    text("CA_HEADER_", "", "CA_HEADER_<name>=<value> is sent as metadata with each call to the authority."),
    text(
        "AUTH_TOKEN", "./var/run/secrets/tokens/istio-token",
        "Path of a token file, read again for every call, or the token itself. The default counts only if the file exists."),
    duration("SECRET_TTL", "24h", 1s, kYear, "Lifetime asked for in certificate requests.", "secretTtl"),
    boolean("FAKE_CA", "false", "Certificates signed by ourselves, for upstream's tests: true is an error.", "fakeCa"),
    text("CRL_PATH", "", "File of revoked certificates. Not built yet: anything but empty is an error.", "crlPath"),
    flag("COMPLIANCE_POLICY", "pqc: key exchange X25519MLKEM768 and nothing else. Needs OpenSSL 3.5."),
    flag("TLS12_ENABLED", "true: TLS 1.2 is allowed besides 1.3."),

    text("PROXY_CONFIG", "", "ProxyConfig as YAML or JSON; its fields come before those of ./etc/istio/config/mesh."),
    text("ISTIO_META_", "", "ISTIO_META_<name>=<value> comes before proxyMetadata of ProxyConfig."),
    text("ISTIO_META_DNS_CAPTURE", "", "The DNS proxy is not built yet: any value is accepted and DNS is left alone."),

    number("POOL_MAX_STREAMS_PER_CONNECTION", "100", 1, 65'535, "Tunnels one pooled connection carries.",
           "poolMaxStreamsPerConn"),
    duration("POOL_UNUSED_RELEASE_TIMEOUT", "5m", 1ms, kYear, "How long an unused pooled connection is kept.",
             "poolUnusedReleaseTimeout"),
    number("HTTP2_STREAM_WINDOW_SIZE", "4194304", 1, kWindowMax, "Receive window of a tunnel, bytes.", "windowSize"),
    number("HTTP2_CONNECTION_WINDOW_SIZE", "16777216", kConnectionWindowMin, kWindowMax,
           "Receive window of a pooled connection, bytes.", "connectionWindowSize"),
    number("HTTP2_FRAME_SIZE", "1048576", kFrameMin, kFrameMax, "Largest frame accepted, bytes.", "frameSize"),

    duration("CONNECTION_TERMINATION_DEADLINE", "", 0s, kYear,
             "How long shutdown waits for connections. Unset: see the next, and 5 s without it."),
    number("TERMINATION_GRACE_PERIOD_SECONDS", "", 0, 31'536'000,
           "The pod's grace period: shutdown waits 5 s less, or 1 s less when it is 10 s or shorter."),
    boolean("ENABLE_ORIG_SRC", "",
            "Connect to applications from the caller's address. Unset: where the kernel allows it; true: required.",
            "requireOriginalSource"),
    text("INPOD_UDS", "/var/run/ztunnel/ztunnel.sock", "Socket of the node agent.", "inpodUds"),
    boolean("INPOD_PORT_REUSE", "true", "SO_REUSEPORT on listeners inside pods, which lets two proxies overlap.",
            "inpodPortReuse"),
    number(
        "PACKET_MARK", "1337", 0, 0xffffffff,
        "SO_MARK of our sockets inside pods; 0 for none. Dedicated mode marks only what it dials, and only if this is set."),
    boolean("KEEPALIVE_ENABLED", "true", "TCP keepalive.", "socketConfig.keepaliveEnabled"),
    duration("KEEPALIVE_TIME", "180s", 1s, kKeepaliveMax, "Silence before the first probe; whole seconds count.",
             "socketConfig.keepaliveTime"),
    duration("KEEPALIVE_INTERVAL", "180s", 1s, kKeepaliveMax, "Between probes; whole seconds count.",
             "socketConfig.keepaliveInterval"),
    number("KEEPALIVE_RETRIES", "9", 1, kKeepaliveRetriesMax, "Unanswered probes that end a connection.",
           "socketConfig.keepaliveRetries"),
    boolean("USER_TIMEOUT_ENABLED", "false", "TCP_USER_TIMEOUT of KEEPALIVE_TIME + KEEPALIVE_RETRIES x KEEPALIVE_INTERVAL.",
            "socketConfig.userTimeoutEnabled"),
    boolean("UNSTABLE_ENABLE_SOCKS5", "false", "SOCKS5 listener. Not built yet: true is an error."),
    boolean("LOCALHOST_APP_TUNNEL", "true", "Deliver connections with a PROXY header to loopback.", "localhostAppTunnel"),
    boolean("ENABLE_RESPONSE_BAGGAGE", "true", "Describe the workload in tunnel answers, and believe peers that do.",
            "enableEnhancedBaggage"),
    boolean("IPV6_ENABLED", "true", "Listen on IPv6 as well.", "ipv6Enabled"),
    flag("AUTHZ_POLICY_INFO_LOGGING", "true: policy decisions are logged at info instead of debug."),

    text("ZTUNNEL_WORKER_THREADS", "",
         "Worker threads: a number, 0 for one a processor, or a percentage of the processors."),
    text("ZTUNNEL_CPU_LIMIT", "", "Processors to count with; a whole number."),
    text("ZTUNNEL_RESOURCE_CPU_LIMIT", "", "Processors to count with; a Kubernetes quantity such as 1500m."),
    text("ZTUNNEL_RESOURCE_CPU_REQUEST", "", "The least number of workers; a Kubernetes quantity."),
    text("WEFT_ENGINE", "auto", "auto, io_uring or epoll.", "weft.engine"),
    text("WEFT_URING_FEATURES", "defer_taskrun,multishot", "What of io_uring may be used; none for neither.",
         "weft.uringFeatures"),
    number("WEFT_SOURCE_CONNECTIONS_MAX", "256", 1, kPeerMax, "Tunnel connections from one address to one pod."),
    number("WEFT_SOURCE_TUNNELS_MAX", "16384", 1, kPeerMax, "Open tunnels from one address to one pod."),
    number("WEFT_IDENTITY_CONNECTIONS_MAX", "4096", 1, kPeerMax, "Tunnel connections of one identity to one pod."),
    number("WEFT_IDENTITY_TUNNELS_MAX", "65536", 1, kPeerMax, "Open tunnels of one identity to one pod."),
    number("WEFT_NODE_IDENTITY_CONNECTIONS_MAX", "16384", 1, kPeerMax,
           "Tunnel connections of one identity to all pods of the node; a quarter of their open files at most."),
    number("WEFT_NODE_IDENTITY_TUNNELS_MAX", "262144", 1, kPeerMax,
           "Open tunnels of one identity to all pods of the node; a quarter of their open files at most."),
    number("WEFT_NODE_IDENTITY_STALLED_MAX", "1024", 0, kPeerMax,
           "Tunnels of one identity to all pods of the node that may stand still; more are cut, see the next."),
    duration("WEFT_STALL_TIMEOUT", "1h", 0s, kYear,
             "After this time in which bytes waited and hardly any moved, a tunnel stands still. 0s: it never does."),
    number("WEFT_POD_DESCRIPTORS", "25", 1, 100,
           "The part of this process's open files that one pod may have, percent; all in dedicated mode unless it is set."),
    duration("WEFT_SPIN", "0s", 0s, 1s, "How long a busy worker looks for new work before it sleeps.", "weft.spin"),

    text("RUST_LOG", "info", "Log filter."),
    text("LOG_FORMAT", "plain", "json for JSON logs.", "weft.logFormat"),
    text("INPOD_ENABLED", "", "Set by charts; not read."),
    text("RUST_BACKTRACE", "", "Set by charts; not read."),
};

}  // namespace

std::span<const Setting> setting_table() { return kTable; }

const Setting& find_setting(std::string_view name) {
  for (const auto& setting : kTable) {
    if (setting.name == name) return setting;
  }
  WEFT_CHECK(!"a setting that the table does not have");
  __builtin_unreachable();
}

}  // namespace weft::ztunnel
