// The secret each node shows when it asks for certificates: one file per node, 0600, made when the node first appears.
//
// Whoever reads a node's file may ask for the identities of the pods on that node and no others. Replacing a file's content
// changes the token at once; removing it shuts the node out until the node appears in the manifests again.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/result.h"
#include "lib/io/files.h"

namespace weft::certs::manager {

class NodeTokens {
 public:
  NodeTokens(io::Files& files, std::string directory) : files_(files), directory_(std::move(directory)) {}

  // Makes the folder (0700) and the node's file when they are missing. kInvalidArgument for a name that is no node name
  // and for a file that is too short to hold a token: its node is shut out.
  Result<void> ensure(const std::string& node);
  // Reads all files again; one that cannot be read, or is too short, is reported and shuts its node out.
  Result<void> reload();
  // The node that owns `token`. Takes the same time whether it is nearly right or not at all.
  std::optional<std::string> node_of(std::string_view token) const;
  const std::string& directory() const { return directory_; }

 private:
  Result<std::string> token_in(const std::string& path);

  io::Files& files_;
  const std::string directory_;
  std::map<std::string, std::string> tokens_;  // by node
};

// RFC 1123 subdomain, as Kubernetes names nodes: safe as a file name.
bool is_node_name(std::string_view name);

}  // namespace weft::certs::manager
