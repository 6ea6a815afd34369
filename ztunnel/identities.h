// Certificates for the pods of this node: asked for before they are needed, kept while a pod needs them, handed to its
// proxy.
//
// Control thread, except secret(), which any worker may await.
#pragma once

#include <set>
#include <string>

#include "certs/secret_manager.h"
#include "lib/async/cross_thread.h"
#include "lib/model/snapshot.h"

namespace weft::ztunnel {

// Identities of the workloads on `node` that take tunnels; `node` empty: none, since everything would count as local.
std::set<model::Identity> local_identities(const model::Snapshot& snapshot, const std::string& node);

class Identities {
 public:
  Identities(Loop& control, certs::SecretManager& secrets, std::string node)
      : control_(control), secrets_(secrets), node_(std::move(node)) {}

  // Warms new identities up and forgets those that no workload of the node has any more.
  void on_snapshot(const model::Snapshot& snapshot);

  // Any thread, `here` being its loop: a connection needs the certificate of `identity` now.
  Task<certs::SecretPtr> secret(Loop& here, model::Identity identity);

 private:
  Task<certs::SecretPtr> request(model::Identity identity);

  Loop& control_;
  certs::SecretManager& secrets_;
  const std::string node_;
  std::set<model::Identity> warmed_;
  std::set<model::Identity> gone_;  // forgotten with the latest snapshot
};

}  // namespace weft::ztunnel
