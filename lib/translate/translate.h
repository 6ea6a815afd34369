// Kubernetes objects in; the mesh as the node proxies need it, and what is to be said about every object, out.
//
// Pure: no I/O, no clock. The result depends on nothing but what is given, and is what istiod would send to a
// ztunnel for the same objects (differences are named where they are made).
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "lib/manifest/object.h"
#include "lib/model/policy.h"
#include "lib/model/service.h"
#include "lib/model/workload.h"
#include "lib/translate/condition.h"
#include "lib/translate/mesh_config.h"
#include "lib/translate/namespaces.h"
#include "lib/translate/options.h"

namespace weft::translate {

// Where policies come from, for explanations.
struct Origins {
  // Of every policy made of an AuthorizationPolicy, by key: the index each rule has in the object's spec.rules; empty when
  // the rules are not the object's own (it could not be read).
  std::map<std::string, std::vector<std::size_t>> written_rules;
  // By uid of workload: "ns/name" of the PeerAuthentication whose mode it has. Not there when there is none.
  std::map<std::string, std::string> peer_authentications;
};

struct Output {
  std::vector<model::Workload> workloads;
  std::vector<model::Service> services;
  std::vector<model::Policy> policies;
  // One for each object, in the order given.
  std::vector<ObjectStatus> statuses;
  Origins origins;
  // DENY rules in force that can never fire: what limits them is seen by HTTP proxies only, or matches nothing.
  std::size_t policy_rules_without_effect = 0;
  // The mesh configuration in force, and why the one among the objects is not it; empty when it is, or when there is none.
  MeshConfig mesh_config;
  std::string mesh_config_error;
  // Described now, or gone and in force as they were.
  KnownNamespaces namespaces;
};

// Of several objects with one key (manifest::key_of), the last counts; the others get a condition that says so.
//
// `before` is the Output of an earlier state, null without one. A mesh configuration that cannot be read leaves the one
// there in force; without it, nothing of it. A namespace that is described there and not any more is as it was while any
// object stands in it.
Output translate(const std::vector<manifest::ObjectPtr>& objects, const Options& options = {},
                 const Output* before = nullptr);

// Whether a policy says what a PeerAuthentication asks for, told by the names that istiod gives those.
bool is_converted(const model::Policy& policy);

}  // namespace weft::translate
