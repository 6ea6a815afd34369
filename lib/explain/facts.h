// What an answer is drawn from: the mesh at one moment, and what its node proxies are like. A value; any thread may use it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "lib/model/snapshot.h"
#include "lib/translate/translate.h"

namespace weft::explain {

struct Facts {
  model::SnapshotPtr snapshot;  // never null
  // Where its policies come from, of the same moment; null: they are written as they are, in no manifest.
  std::shared_ptr<const translate::Origins> origins;
  std::set<std::string> assumed_namespaces;         // nobody says whether they are in the mesh; taken to be
  std::string cluster_id, network, cluster_domain;  // as the translator was told them
  std::uint16_t hbone_port = 0;                     // that pods listen on
  std::function<bool(std::uint16_t)> is_own_port;   // of a node proxy, never a destination
};

}  // namespace weft::explain
