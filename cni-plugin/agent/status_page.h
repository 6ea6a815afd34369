// The page /status: every pod of the node, whether it is in the mesh, and why not. For `weftctl status`.
#pragma once

#include <string>

#include "cni-plugin/agent/pod_source.h"
#include "cni-plugin/agent/pod_store.h"
#include "lib/sources/folder.h"

namespace weft::cni::agent {

struct StatusContents {
  std::string node, folder;
  const PodSet& pods;                                  // as the source has them
  const std::map<std::string, PodRecordPtr>& records;  // those that concern us, by UID
  zds::LinkId newest_proxy = 0;
  sources::FolderCounters counters;
};

// JSON, described in docs/weftctl.md. Pods by UID; those that have ended and are forgotten are left out. Control thread.
std::string status_page(const StatusContents& contents);

}  // namespace weft::cni::agent
