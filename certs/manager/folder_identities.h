// Which identities run on which node, read from a folder of Kubernetes manifests.
//
// A pod counts from the moment it is assigned to a node until it has finished or is gone: its namespace and service account
// are its identity. A pod that is written several times counts as written last, files in the order of their paths. A file
// that cannot be read, or is broken, keeps what it said last.
#pragma once

#include <map>
#include <set>
#include <string>

#include "certs/manager/issuer.h"
#include "lib/io/files.h"

namespace weft::certs::manager {

class FolderIdentities final : public AllowedIdentities {
 public:
  FolderIdentities(io::Files& files, std::string directory) : files_(files), directory_(std::move(directory)) {}

  // Reads the folder again. An error leaves everything as it was.
  Result<void> reload();
  bool runs_on(const std::string& node, const model::Identity& identity) const override;
  // Every node that a pod is assigned to or that has a Node object.
  const std::set<std::string>& nodes() const { return nodes_; }
  // Files whose last reading failed.
  std::size_t broken_files() const { return broken_; }

 private:
  using Account = std::pair<std::string, std::string>;  // namespace, service account
  struct Pod {
    std::string node;  // empty: on none yet, or finished
    Account account;
  };
  struct File {
    std::string content;
    std::set<std::string> nodes;      // with a Node object
    std::map<std::string, Pod> pods;  // by "namespace/name"
  };
  static bool read_into(File& file, const std::string& path, const std::string& content);

  io::Files& files_;
  const std::string directory_;
  std::map<std::string, File> by_path_;
  std::map<std::string, std::set<Account>> accounts_;  // by node
  std::set<std::string> nodes_;
  std::size_t broken_ = 0;
};

}  // namespace weft::certs::manager
