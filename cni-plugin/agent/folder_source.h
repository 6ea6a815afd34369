// Pods of this node from a folder of manifests, and whether each is to be in the mesh.
#pragma once

#include <set>
#include <string>

#include "cni-plugin/agent/pod_source.h"
#include "lib/sources/folder.h"

namespace weft::cni::agent {

// Who is to be in the mesh.
struct Membership {
  std::string node;
  std::vector<translate::EnablementSelector> enablement = translate::default_enablement_selectors();
  std::set<std::string> excluded_namespaces;
  std::string system_namespace = "istio-system";  // its pods labelled app=ztunnel are no workloads
  std::string agent_namespace = "istio-system";   // nor are the agents themselves, istio-cni-node-*, here
};

// Pure. Pods on other nodes, and those that no node has yet, are left out.
std::vector<PodInfo> pods_of_node(const std::vector<manifest::ObjectPtr>& objects,
                                  const translate::KnownNamespaces& namespaces, const Membership& membership);

// Control thread. `files` outlives the source.
class FolderPods final : public PodSource {
 public:
  FolderPods(io::Files& files, const std::string& directory, Membership membership, OnChange on_change);

  // Reads and watches; on_change runs inside for the first state. Fails when the folder cannot be listed or watched.
  Result<void> start() { return folder_.start(); }
  const PodSet& pods() const override { return set_; }
  void refresh() override { (void)folder_.refresh(); }
  const sources::FolderCounters& counters() const { return folder_.counters(); }

 private:
  void take(const sources::FolderState& state);

  const Membership membership_;
  OnChange on_change_;
  PodSet set_;
  sources::FolderSource folder_;
};

}  // namespace weft::cni::agent
