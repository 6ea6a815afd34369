// Kubernetes and Istio objects as typed values: of every kind we act on, the fields we act on.
//
// Nothing here is interpreted: names are as written, defaults of the API are filled in where the API server would, and
// what could not be read is named in Object::problems.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "lib/manifest/problem.h"
#include "lib/manifest/value.h"

namespace weft::manifest {

using Labels = std::map<std::string, std::string>;

struct OwnerReference {
  std::string api_version;
  std::string kind;
  std::string name;
  bool controller = false;
  friend bool operator==(const OwnerReference&, const OwnerReference&) = default;
};

struct Meta {
  std::string name;
  std::string namespace_;  // empty for cluster-scoped kinds
  std::string uid;
  Labels labels;
  Labels annotations;
  std::vector<OwnerReference> owners;
  std::string creation_timestamp;  // RFC 3339, so that text order is time order; empty when not given
  bool deleting = false;           // deletionTimestamp is set
  friend bool operator==(const Meta&, const Meta&) = default;

  const std::string* label(const std::string& key) const {
    auto found = labels.find(key);
    return found == labels.end() ? nullptr : &found->second;
  }
  const std::string* annotation(const std::string& key) const {
    auto found = annotations.find(key);
    return found == annotations.end() ? nullptr : &found->second;
  }
};

// matchLabels and matchExpressions, all of which must hold. Without any it selects everything.
struct LabelSelector {
  struct Expression {
    std::string key;
    std::string op;  // In, NotIn, Exists, DoesNotExist
    std::vector<std::string> values;
    friend bool operator==(const Expression&, const Expression&) = default;
  };
  Labels labels;
  std::vector<Expression> expressions;
  friend bool operator==(const LabelSelector&, const LabelSelector&) = default;

  bool empty() const { return labels.empty() && expressions.empty(); }
  // An expression with an operator outside the API matches nothing.
  bool matches(const Labels& labels) const;
};

struct Namespace {};
struct Node {};
struct ServiceAccount {};

struct ContainerPort {
  std::string name;
  std::uint16_t port = 0;
  std::string protocol = "TCP";
};

struct PodSpec {
  std::string node_name;
  std::string service_account = "default";
  bool host_network = false;
  std::vector<ContainerPort> ports;  // of all containers and of init containers that go on running
};

struct Pod {
  PodSpec spec;
  std::string phase;             // Pending, Running, Succeeded, Failed, Unknown; empty when not given
  std::vector<std::string> ips;  // podIPs, or podIP alone; as text
  bool ready = false;            // condition Ready is True
};

// Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, CronJob: what their pods will look like.
struct PodTemplate {
  Meta meta;
  PodSpec spec;
  std::optional<std::int64_t> replicas;
};

struct ServicePort {
  std::string name;
  std::uint16_t port = 0;
  std::uint16_t target_port = 0;  // 0 when the target is named
  std::string target_name;
  std::string protocol = "TCP";
  std::string app_protocol;
};

struct Service {
  std::string type = "ClusterIP";
  std::vector<std::string> cluster_ips;  // without "None"; empty for headless services
  bool headless = false;                 // clusterIP: None
  Labels selector;
  std::vector<ServicePort> ports;
  bool publish_not_ready = false;
  std::string internal_traffic_policy;  // Cluster, Local, or empty
  std::string traffic_distribution;
  std::string ip_family_policy;
  std::vector<std::string> ip_families;
  std::string external_name;
};

struct EndpointSlice {
  struct Endpoint {
    std::vector<std::string> addresses;
    bool ready = true;
    std::string hostname, node_name, zone;
    std::string target_kind, target_namespace, target_name;
  };
  struct Port {
    std::string name;
    std::uint16_t port = 0;
    std::string protocol = "TCP";
  };
  std::string address_type;
  std::vector<Endpoint> endpoints;
  std::vector<Port> ports;
};

struct ConfigMap {
  Labels data;
};

struct WorkloadEntry {
  std::string address;
  std::map<std::string, std::uint16_t> ports;
  Labels labels;
  std::string network, locality, service_account;
  std::optional<std::uint32_t> weight;
};

struct WorkloadGroup {
  Labels labels;  // of spec.metadata
  WorkloadEntry entry;
};

struct ServiceEntry {
  struct Port {
    std::string name, protocol;
    std::uint16_t port = 0;
    std::uint16_t target_port = 0;  // 0: the same as port
  };
  struct Allocated {
    std::string host;  // empty: of every host
    std::string address;
  };
  std::vector<std::string> hosts, addresses, export_to, subject_alt_names;
  std::vector<Allocated> allocated;  // status.addresses
  std::vector<Port> ports;
  std::string location;    // MESH_EXTERNAL, MESH_INTERNAL
  std::string resolution;  // NONE, STATIC, DNS, DNS_ROUND_ROBIN, DYNAMIC_DNS
  std::vector<WorkloadEntry> endpoints;
  std::optional<Labels> workload_selector;
};

enum class MtlsMode { kUnset, kDisable, kPermissive, kStrict };

struct PeerAuthentication {
  Labels selector;
  bool has_selector = false;  // selector with at least one label
  MtlsMode mode = MtlsMode::kUnset;
  std::map<std::uint16_t, MtlsMode> ports;
  bool ports_empty = false;  // portLevelMtls is there and names none
};

struct TargetRef {
  std::string group, kind, name, namespace_, section;
};

struct AuthorizationPolicy {
  enum class Action { kAllow, kDeny, kAudit, kCustom };
  // Values and their negations of one attribute.
  struct Terms {
    std::vector<std::string> values, not_values;
    bool empty() const { return values.empty() && not_values.empty(); }
  };
  struct Source {
    Terms principals, request_principals, namespaces, ip_blocks, remote_ip_blocks, service_accounts, trust_domains;
  };
  struct Operation {
    Terms hosts, ports, methods, paths;
  };
  struct Condition {
    std::string key;
    Terms terms;
  };
  struct Rule {
    std::vector<Source> from;
    std::vector<Operation> to;
    std::vector<Condition> when;
    // A part of the rule could not be read or is unknown, so the rule is more than what is here.
    bool incomplete = false;
    int line = 0;
  };
  Labels selector;
  bool has_selector = false;
  std::vector<TargetRef> targets;
  Action action = Action::kAllow;
  std::string provider;
  std::vector<Rule> rules;
  // The action or the target could not be read.
  bool unreadable = false;
};

// gateway.networking.k8s.io. Istio's own Gateway is among the untyped kinds.
struct Gateway {
  struct Listener {
    std::string name, hostname, protocol;
    std::uint16_t port = 0;
    std::string routes_from = "Same";  // allowedRoutes.namespaces.from
    LabelSelector routes_selector;
  };
  struct Address {
    std::string type, value;
  };
  std::string class_name;
  std::vector<Listener> listeners;
  std::vector<Address> addresses;         // asked for
  std::vector<Address> status_addresses;  // given
};

struct GatewayClass {
  std::string controller;
};

// A kind without a type here: the tree as written.
struct Untyped {
  std::shared_ptr<const Value> document;
};

struct Object {
  using Body = std::variant<Untyped, Namespace, Node, ServiceAccount, Pod, PodTemplate, Service, EndpointSlice, ConfigMap,
                            WorkloadEntry, WorkloadGroup, ServiceEntry, PeerAuthentication, AuthorizationPolicy, Gateway,
                            GatewayClass>;
  std::string group;    // "" for core
  std::string version;  // "v1"
  std::string kind;
  Meta meta;
  Body body;
  std::string file;
  int line = 0;
  std::vector<Problem> problems;

  template <typename T>
  const T* as() const {
    return std::get_if<T>(&body);
  }
};

// Objects do not change once read, and are shared between states of a folder.
using ObjectPtr = std::shared_ptr<const Object>;

// "networking.istio.io/Gateway/shop/front": what makes two objects the same one. The version does not count.
std::string key_of(const Object& object);

}  // namespace weft::manifest
