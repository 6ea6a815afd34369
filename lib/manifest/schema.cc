#include "lib/manifest/schema.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/manifest/reader.h"

namespace weft::manifest {
namespace {

// The notation of the table below. Lists are not marked: `ports{port}` is a map with the field port, or a list of such.
//   name         a plain value or a list of them
//   name*        anything, not looked into
//   name{a b}    a map (or list of maps) with the fields a and b
//   name<a b>    a map with free keys, each value a map with the fields a and b
//   name@other   the fields of the shared entry `other`
//   name=other   no field, but clearly meant for `other`
struct Shared {
  std::string_view name;
  std::string_view fields;
};

constexpr Shared kShared[] = {
    {"metadata",
     "name generateName namespace uid resourceVersion generation creationTimestamp deletionTimestamp "
     "deletionGracePeriodSeconds labels* annotations* finalizers managedFields* selfLink "
     "ownerReferences{apiVersion kind name uid controller blockOwnerDeletion}"},
    {"labelselector", "matchLabels* matchExpressions{key operator values}"},
    {"workloadselector", "matchLabels* labels*"},
    {"targetref", "group kind name namespace sectionName"},
    {"container",
     "name image command args workingDir ports{name containerPort hostPort hostIP protocol} env* envFrom* resources* "
     "resizePolicy* restartPolicy restartPolicyRules* volumeMounts* volumeDevices* livenessProbe* readinessProbe* "
     "startupProbe* lifecycle* "
     "terminationMessagePath terminationMessagePolicy imagePullPolicy securityContext* stdin stdinOnce tty "
     "targetContainerName"},
    {"podspec",
     "volumes* initContainers@container containers@container ephemeralContainers@container restartPolicy "
     "terminationGracePeriodSeconds activeDeadlineSeconds dnsPolicy nodeSelector* serviceAccountName serviceAccount "
     "automountServiceAccountToken nodeName hostNetwork hostPID hostIPC shareProcessNamespace securityContext* "
     "imagePullSecrets* hostname subdomain affinity* schedulerName tolerations* hostAliases* priorityClassName priority "
     "dnsConfig* readinessGates* runtimeClassName enableServiceLinks preemptionPolicy overhead* "
     "topologySpreadConstraints* setHostnameAsFQDN os* hostUsers schedulingGates* resourceClaims* resources* "
     "hostnameOverride"},
    {"podtemplate", "metadata@metadata spec@podspec"},
    {"workloadentry", "address ports* labels* network locality weight serviceAccount"},
    {"peersource",
     "principals notPrincipals requestPrincipals notRequestPrincipals namespaces notNamespaces ipBlocks notIpBlocks "
     "remoteIpBlocks notRemoteIpBlocks serviceAccounts notServiceAccounts trustDomains notTrustDomains"},
    {"operation", "hosts notHosts ports notPorts methods notMethods paths notPaths"},
    {"stringmatch", "exact prefix regex"},
    {"destination", "host subset port{number name}"},
    {"httpmatch",
     "name uri@stringmatch scheme@stringmatch method@stringmatch authority@stringmatch headers<exact prefix regex> port "
     "sourceLabels* gateways queryParams<exact prefix regex> ignoreUriCase withoutHeaders<exact prefix regex> "
     "sourceNamespace statPrefix"},
    {"headerops", "request{set* add* remove} response{set* add* remove}"},
    {"l4match", "destinationSubnets port sourceLabels* gateways sourceNamespace sourceSubnet sniHosts"},
    {"tlssettings",
     "mode clientCertificate privateKey caCertificates credentialName subjectAltNames sni insecureSkipVerify caCrl"},
    {"keepalive", "probes time interval"},
    {"outlier",
     "splitExternalLocalOriginErrors consecutiveLocalOriginFailures consecutiveGatewayErrors consecutive5xxErrors "
     "consecutiveErrors interval baseEjectionTime maxEjectionPercent minHealthPercent"},
    {"pool",
     "tcp{maxConnections connectTimeout tcpKeepalive@keepalive keepAlive=tcpKeepalive maxConnectionDuration idleTimeout} "
     "http{http1MaxPendingRequests http2MaxRequests maxRequestsPerConnection maxRetries idleTimeout h2UpgradePolicy "
     "useClientProtocol maxConcurrentStreams http2KeepAlive{interval timeout}}"},
    {"balancer",
     "simple consistentHash{httpHeaderName httpCookie{name path ttl attributes*} useSourceIp httpQueryParameterName "
     "ringHash{minimumRingSize} maglev{tableSize} minimumRingSize} localityLbSetting{distribute* failover* failoverPriority "
     "enabled} "
     "warmupDurationSecs warmup{duration minimumPercent aggression}"},
    {"portpolicy", "port{number} loadBalancer@balancer connectionPool@pool outlierDetection@outlier tls@tlssettings"},
    {"trafficpolicy",
     "loadBalancer@balancer connectionPool@pool outlierDetection@outlier tls@tlssettings portLevelSettings@portpolicy "
     "tunnel{protocol targetHost targetPort} proxyProtocol{version} retryBudget{percent minRetryConcurrency}"},
    {"parentref", "group kind namespace name sectionName port"},
    {"backendref", "group kind namespace name port weight filters*"},
    {"providers", "providers{name}"},
};

struct Kind {
  std::string_view group;
  std::string_view kind;
  Scope scope;
  std::string_view fields;  // besides apiVersion, kind, metadata and status
};

constexpr auto kCluster = Scope::kCluster;
constexpr auto kNamespaced = Scope::kNamespaced;

constexpr Kind kKinds[] = {
    {"", "Namespace", kCluster, "spec{finalizers}"},
    {"", "Node", kCluster, "spec*"},
    {"", "Pod", kNamespaced, "spec@podspec"},
    {"", "Service", kNamespaced,
     "spec{selector* clusterIP clusterIPs type ports{name protocol appProtocol port targetPort nodePort} externalIPs "
     "sessionAffinity sessionAffinityConfig* loadBalancerIP loadBalancerSourceRanges externalName externalTrafficPolicy "
     "healthCheckNodePort publishNotReadyAddresses ipFamilies ipFamilyPolicy allocateLoadBalancerNodePorts "
     "loadBalancerClass internalTrafficPolicy trafficDistribution}"},
    {"", "ServiceAccount", kNamespaced, "secrets* imagePullSecrets* automountServiceAccountToken"},
    {"", "ConfigMap", kNamespaced, "data* binaryData* immutable"},
    {"", "Secret", kNamespaced, "data* stringData* type immutable"},
    {"", "Endpoints", kNamespaced, "subsets*"},
    {"discovery.k8s.io", "EndpointSlice", kNamespaced,
     "addressType endpoints{addresses conditions{ready serving terminating} hostname targetRef* nodeName zone hints* "
     "deprecatedTopology*} ports{name protocol port appProtocol}"},
    {"apps", "Deployment", kNamespaced,
     "spec{replicas selector@labelselector template@podtemplate strategy* minReadySeconds revisionHistoryLimit paused "
     "progressDeadlineSeconds}"},
    {"apps", "ReplicaSet", kNamespaced, "spec{replicas selector@labelselector template@podtemplate minReadySeconds}"},
    {"apps", "StatefulSet", kNamespaced,
     "spec{replicas selector@labelselector template@podtemplate volumeClaimTemplates* serviceName podManagementPolicy "
     "updateStrategy* revisionHistoryLimit minReadySeconds persistentVolumeClaimRetentionPolicy* ordinals*}"},
    {"apps", "DaemonSet", kNamespaced,
     "spec{selector@labelselector template@podtemplate updateStrategy* minReadySeconds revisionHistoryLimit}"},
    {"batch", "Job", kNamespaced,
     "spec{parallelism completions activeDeadlineSeconds backoffLimit backoffLimitPerIndex maxFailedIndexes "
     "podFailurePolicy* "
     "successPolicy* selector@labelselector manualSelector template@podtemplate ttlSecondsAfterFinished completionMode "
     "suspend podReplacementPolicy managedBy}"},
    {"batch", "CronJob", kNamespaced,
     "spec{schedule timeZone startingDeadlineSeconds concurrencyPolicy suspend jobTemplate{metadata@metadata "
     "spec{parallelism completions activeDeadlineSeconds backoffLimit backoffLimitPerIndex maxFailedIndexes "
     "podFailurePolicy* "
     "successPolicy* selector@labelselector manualSelector template@podtemplate ttlSecondsAfterFinished completionMode "
     "suspend podReplacementPolicy managedBy}} successfulJobsHistoryLimit failedJobsHistoryLimit}"},

    {"security.istio.io", "PeerAuthentication", kNamespaced, "spec{selector{matchLabels*} mtls{mode} portLevelMtls<mode>}"},
    {"security.istio.io", "AuthorizationPolicy", kNamespaced,
     "spec{selector{matchLabels*} targetRef@targetref targetRefs@targetref action provider{name} "
     "rules{from{source@peersource} to{operation@operation} when{key values notValues}}}"},
    {"security.istio.io", "RequestAuthentication", kNamespaced,
     "spec{selector{matchLabels*} targetRef@targetref targetRefs@targetref jwtRules{issuer audiences jwksUri jwks "
     "fromHeaders{name prefix} fromParams fromCookies outputPayloadToHeader forwardOriginalToken "
     "outputClaimToHeaders{header claim} "
     "timeout spaceDelimitedClaims}}"},

    {"networking.istio.io", "WorkloadEntry", kNamespaced, "spec@workloadentry"},
    {"networking.istio.io", "WorkloadGroup", kNamespaced,
     "spec{metadata{labels* annotations*} template@workloadentry probe*}"},
    {"networking.istio.io", "ServiceEntry", kNamespaced,
     "spec{hosts addresses ports{number protocol name targetPort} location resolution endpoints@workloadentry "
     "workloadSelector@workloadselector exportTo subjectAltNames}"},
    {"networking.istio.io", "VirtualService", kNamespaced,
     "spec{hosts gateways exportTo "
     "http{name match@httpmatch route{destination@destination weight headers@headerops} "
     "redirect{uri authority port derivePort scheme redirectCode} directResponse{status body{string bytes}} "
     "delegate{name namespace} rewrite{uri authority uriRegexRewrite{match rewrite}} timeout "
     "retries{attempts perTryTimeout retryOn retryRemoteLocalities retryIgnorePreviousHosts backoff} "
     "fault{delay{percent fixedDelay exponentialDelay percentage{value}} abort{httpStatus grpcStatus http2Error "
     "percentage{value}}} "
     "mirror@destination mirrors{destination@destination percentage{value}} mirrorPercent mirror_percent "
     "mirrorPercentage{value} corsPolicy{allowOrigin allowOrigins@stringmatch allowMethods allowHeaders exposeHeaders "
     "maxAge allowCredentials unmatchedPreflights} headers@headerops} "
     "tls{match@l4match route{destination@destination weight}} tcp{match@l4match route{destination@destination weight}}}"},
    {"networking.istio.io", "DestinationRule", kNamespaced,
     "spec{host trafficPolicy@trafficpolicy subsets{name labels* trafficPolicy@trafficpolicy} exportTo "
     "workloadSelector@workloadselector}"},
    {"networking.istio.io", "Gateway", kNamespaced,
     "spec{servers{port{number protocol name targetPort} bind hosts name defaultEndpoint "
     "tls{httpsRedirect mode serverCertificate privateKey caCertificates caCrl credentialName credentialNames "
     "caCertCredentialName "
     "tlsCertificates* subjectAltNames verifyCertificateSpki verifyCertificateHash minProtocolVersion maxProtocolVersion "
     "cipherSuites}} selector*}"},
    {"networking.istio.io", "Sidecar", kNamespaced,
     "spec{workloadSelector@workloadselector ingress* egress{port{number protocol name targetPort} bind captureMode hosts} "
     "inboundConnectionPool* outboundTrafficPolicy{mode egressProxy*}}"},
    {"networking.istio.io", "EnvoyFilter", kNamespaced,
     "spec{workloadSelector@workloadselector targetRefs@targetref priority configPatches{applyTo match* patch*}}"},
    {"networking.istio.io", "ProxyConfig", kNamespaced,
     "spec{selector{matchLabels*} concurrency environmentVariables* image{imageType}}"},
    {"telemetry.istio.io", "Telemetry", kNamespaced,
     "spec{selector{matchLabels*} targetRef@targetref targetRefs@targetref "
     "tracing{match{mode} providers{name} randomSamplingPercentage disableSpanReporting customTags* "
     "useRequestIdForTraceSampling enableIstioTags} "
     "metrics{providers{name} overrides{match{metric customMetric mode} disabled tagOverrides<operation value>} "
     "reportingInterval} accessLogging{match{mode} providers{name} disabled filter{expression}}}"},
    {"extensions.istio.io", "WasmPlugin", kNamespaced,
     "spec{selector{matchLabels*} targetRef@targetref targetRefs@targetref url sha256 imagePullPolicy imagePullSecret "
     "verificationKey pluginConfig* pluginName phase priority failStrategy vmConfig* match{mode ports{number}} type}"},

    {"gateway.networking.k8s.io", "GatewayClass", kCluster, "spec{controllerName description parametersRef*}"},
    {"gateway.networking.k8s.io", "Gateway", kNamespaced,
     "spec{gatewayClassName addresses{type value} infrastructure* backendTLS* allowedListeners* tls* "
     "listeners{name hostname port protocol tls* allowedRoutes{namespaces{from selector@labelselector} kinds{group "
     "kind}}}}"},
    {"gateway.networking.k8s.io", "HTTPRoute", kNamespaced,
     "spec{parentRefs@parentref useDefaultGateways hostnames rules{name matches* filters* backendRefs@backendref "
     "timeouts{request backendRequest} "
     "retry* sessionPersistence*}}"},
    {"gateway.networking.k8s.io", "GRPCRoute", kNamespaced,
     "spec{parentRefs@parentref useDefaultGateways hostnames rules{name matches* filters* backendRefs@backendref "
     "sessionPersistence*}}"},
    {"gateway.networking.k8s.io", "TCPRoute", kNamespaced,
     "spec{parentRefs@parentref useDefaultGateways rules{name backendRefs@backendref}}"},
    {"gateway.networking.k8s.io", "TLSRoute", kNamespaced,
     "spec{parentRefs@parentref useDefaultGateways hostnames rules{name backendRefs@backendref}}"},

    {"linkerd.io", "ServiceProfile", kNamespaced,
     "spec{routes{name condition* isRetryable timeout responseClasses*} "
     "retryBudget{retryRatio minRetriesPerSecond ttl} dstOverrides{authority weight} opaquePorts}"},
    {"split.smi-spec.io", "TrafficSplit", kNamespaced, "spec{service backends{service weight} matches*}"},
    {"consul.hashicorp.com", "ServiceDefaults", kNamespaced, "spec*"},
    {"consul.hashicorp.com", "ServiceSplitter", kNamespaced, "spec*"},
    {"consul.hashicorp.com", "ServiceResolver", kNamespaced, "spec*"},
    {"monitoring.coreos.com", "ServiceMonitor", kNamespaced, "spec*"},
    {"monitoring.coreos.com", "PodMonitor", kNamespaced, "spec*"},

    // Known by scope only.
    {"rbac.authorization.k8s.io", "ClusterRole", kCluster, "rules* aggregationRule*"},
    {"rbac.authorization.k8s.io", "ClusterRoleBinding", kCluster, "subjects* roleRef*"},
    {"apiextensions.k8s.io", "CustomResourceDefinition", kCluster, "spec*"},
    {"admissionregistration.k8s.io", "ValidatingWebhookConfiguration", kCluster, "webhooks*"},
    {"admissionregistration.k8s.io", "MutatingWebhookConfiguration", kCluster, "webhooks*"},
    {"scheduling.k8s.io", "PriorityClass", kCluster, "value globalDefault description preemptionPolicy"},
    {"storage.k8s.io", "StorageClass", kCluster,
     "provisioner parameters* reclaimPolicy mountOptions allowVolumeExpansion volumeBindingMode allowedTopologies*"},
    {"", "PersistentVolume", kCluster, "spec*"},
};

struct Fields;
enum class Below { kPlain, kAnything, kFields, kKeyedFields, kMeantFor };
struct Field {
  std::string_view name;
  Below below = Below::kPlain;
  std::shared_ptr<Fields> fields;
  std::string_view meant_for = {};
};
struct Fields {
  std::vector<Field> fields;
  const Field* find(std::string_view name) const {
    auto at =
        std::lower_bound(fields.begin(), fields.end(), name, [](const Field& f, std::string_view n) { return f.name < n; });
    return at != fields.end() && at->name == name ? &*at : nullptr;
  }
};

// The table in readable form, made once. Notation errors show as unknown fields in the tests.
class Table {
 public:
  Table() {
    for (const auto& kind : kKinds) kinds_[{kind.group, kind.kind}] = {kind.scope, parse_all(kind.fields, true)};
  }
  struct Entry {
    Scope scope;
    std::shared_ptr<Fields> fields;
  };
  const Entry* find(std::string_view group, std::string_view kind) const {
    auto found = kinds_.find({group, kind});
    return found == kinds_.end() ? nullptr : &found->second;
  }

 private:
  std::shared_ptr<Fields> parse_all(std::string_view text, bool top) {
    auto out = parse(text);
    if (top) {
      for (auto name : {"apiVersion", "kind"}) out->fields.push_back({name});
      out->fields.push_back({"status", Below::kAnything});
      out->fields.push_back({"metadata", Below::kFields, shared("metadata")});
    }
    std::sort(out->fields.begin(), out->fields.end(), [](const Field& a, const Field& b) { return a.name < b.name; });
    return out;
  }
  std::shared_ptr<Fields> shared(std::string_view name) {
    auto& made = shared_[name];
    if (!made) {
      for (const auto& entry : kShared) {
        if (entry.name == name) made = parse_all(entry.fields, false);
      }
    }
    return made;
  }
  // Reads fields up to a closing bracket or the end; `text` moves on.
  std::shared_ptr<Fields> parse(std::string_view& text) {
    auto out = std::make_shared<Fields>();
    while (!text.empty() && text.front() != '}' && text.front() != '>') {
      if (text.front() == ' ') {
        text.remove_prefix(1);
        continue;
      }
      Field field;
      const auto length = std::min(text.find_first_of(" *{<@=}>"), text.size());
      field.name = text.substr(0, length);
      text.remove_prefix(length);
      const char mark = text.empty() ? ' ' : text.front();
      if (mark == '*') {
        field.below = Below::kAnything;
        text.remove_prefix(1);
      } else if (mark == '{' || mark == '<') {
        field.below = mark == '{' ? Below::kFields : Below::kKeyedFields;
        text.remove_prefix(1);
        field.fields = parse(text);
        text.remove_prefix(1);
      } else if (mark == '@') {
        field.below = Below::kFields;
        text.remove_prefix(1);
        const auto end = std::min(text.find_first_of(" }>"), text.size());
        field.fields = shared(text.substr(0, end));
        text.remove_prefix(end);
      } else if (mark == '=') {
        field.below = Below::kMeantFor;
        text.remove_prefix(1);
        const auto end = std::min(text.find_first_of(" }>"), text.size());
        field.meant_for = text.substr(0, end);
        text.remove_prefix(end);
      }
      out->fields.push_back(std::move(field));
    }
    std::sort(out->fields.begin(), out->fields.end(), [](const Field& a, const Field& b) { return a.name < b.name; });
    return out;
  }
  std::shared_ptr<Fields> parse(std::string_view&& text) {
    std::string_view rest = text;
    return parse(rest);
  }

  std::map<std::string_view, std::shared_ptr<Fields>> shared_;
  std::map<std::pair<std::string_view, std::string_view>, Entry> kinds_;
};

const Table& table() {
  static const Table made;
  return made;
}

// Edits that turn one word into the other; words are short.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      const bool same =
          std::tolower(static_cast<unsigned char>(a[i - 1])) == std::tolower(static_cast<unsigned char>(b[j - 1]));
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (same ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
}

std::string hint(std::string_view name, const Fields& fields) {
  if (name.size() < 3 || name.size() > 40) return "";
  const Field* best = nullptr;
  std::size_t best_distance = 1 + name.size() / 4;
  for (const auto& field : fields.fields) {
    if (field.below == Below::kMeantFor) continue;
    if (auto d = distance(name, field.name); d <= best_distance) {
      best = &field;
      best_distance = d;
      if (d == 0) break;
    }
  }
  return best ? "; did you mean " + std::string(best->name) + "?" : "";
}

// Ends with the last problem that is kept: the nearest name is dear, and aliases repeat a map thousands of times.
void check(const Value& value, const Fields& fields, const std::string& path, Problems& problems) {
  if (value.is_list()) {
    for (std::size_t i = 0; i < value.items.size() && !problems.is_full(); ++i)
      check(value.items[i], fields, path + "[" + std::to_string(i) + "]", problems);
    return;
  }
  for (const auto& member : value.members) {
    if (problems.is_full()) return;
    const Field* field = fields.find(member.key);
    if (!field) {
      problems.add({Level::kWarning, "FieldIgnored", join_path(path, member.key),
                    "unknown field; ignored" + hint(member.key, fields), member.line});
      continue;
    }
    if (field->below == Below::kMeantFor) {
      problems.add({Level::kWarning, "Interpreted", join_path(path, member.key),
                    "unknown field; taken as " + std::string(field->meant_for), member.line});
    } else if (field->below == Below::kFields) {
      check(member.value, *field->fields, join_path(path, member.key), problems);
    } else if (field->below == Below::kKeyedFields) {
      const auto below = join_path(path, member.key);
      for (const auto& keyed : member.value.members)
        check(keyed.value, *field->fields, join_path(below, keyed.key), problems);
    }
  }
}

}  // namespace

KindInfo find_kind(std::string_view group, std::string_view kind) {
  const auto* entry = table().find(group, kind);
  return entry ? KindInfo{entry->scope, true} : KindInfo{};
}

void report_unknown_fields(std::string_view group, std::string_view kind, const Value& object, Problems& problems) {
  if (const auto* entry = table().find(group, kind)) check(object, *entry->fields, "", problems);
}

}  // namespace weft::manifest
