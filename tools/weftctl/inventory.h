// The mesh that a folder of manifests describes, complete enough to be asked about.
//
// Manifests name Deployments where a cluster has pods, and no addresses. Here every pod and service has one: its own where
// the file says so, else one out of 0.0.0.0/8, which no pod can have. A workload kind without pods of its own stands for one
// pod of its name. A namespace that no file describes is taken to be in the mesh, because files of policies seldom bring
// their namespace along.
#pragma once

#include <vector>

#include "lib/explain/facts.h"
#include "lib/manifest/object.h"

namespace weft::ctl {

explain::Facts take_inventory(const std::vector<manifest::ObjectPtr>& objects, const translate::Options& options);

}  // namespace weft::ctl
