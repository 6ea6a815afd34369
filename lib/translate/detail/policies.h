// AuthorizationPolicy and PeerAuthentication become the policies a node enforces, and the list each workload names.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lib/model/policy.h"
#include "lib/translate/detail/world.h"

namespace weft::translate::detail {

// A policy that acts on the workloads that list it.
struct Attachment {
  std::string namespace_name;  // empty: any namespace
  manifest::Labels selector;
  std::string key;
};

struct Policies {
  std::vector<model::Policy> policies;
  std::vector<Attachment> attachments;
  // As Origins has it.
  std::map<std::string, std::vector<std::size_t>> written_rules;
  // As Output has it.
  std::size_t rules_without_effect = 0;
};

void translate_authorization_policies(World& world, Policies& out);

// Which modes hold for a workload, decided from all PeerAuthentications.
class PeerAuthentications {
 public:
  // Emits the policies and remembers the rest for keys_for().
  PeerAuthentications(World& world, Policies& out);
  // Keys of the policies that a workload with these labels lists, unsorted.
  std::vector<std::string> keys_for(const std::string& namespace_name, const manifest::Labels& labels) const;
  // The object whose mode such a workload has; null when there is none.
  const manifest::Object* origin(const std::string& namespace_name, const manifest::Labels& labels) const;

 private:
  struct Chosen {
    const Item<manifest::PeerAuthentication>* item = nullptr;
  };
  bool inherits_strict(const std::string& namespace_name) const;
  void convert(const Item<manifest::PeerAuthentication>& item, Policies& out);

  const World& world_;
  const Item<manifest::PeerAuthentication>* mesh_ = nullptr;
  std::map<std::string, const Item<manifest::PeerAuthentication>*> namespaces_;
  // By namespace, oldest first: the first that selects a workload is the one that counts.
  std::map<std::string, std::vector<const Item<manifest::PeerAuthentication>*>> workloads_;
  // Keys of converted port policies, by the object they come from.
  std::map<const manifest::Object*, std::string> converted_;
};

// All keys of a workload, sorted: selecting policies and peer authentication.
std::vector<std::string> policy_keys(const Policies& policies, const PeerAuthentications& peers,
                                     const std::string& namespace_name, const manifest::Labels& labels);

}  // namespace weft::translate::detail
