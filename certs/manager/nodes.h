// Who may ask and for what: the nodes' tokens and the pods of the manifests, both folders watched.
//
// A node that appears in the manifests gets a token file. A token file that somebody removes shuts its node out until the
// node has left the manifests and come again, or this program starts anew: then it gets a new token. Loop's thread.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "certs/manager/folder_identities.h"
#include "certs/manager/node_tokens.h"
#include "lib/async/loop.h"

namespace weft::certs::manager {

class Nodes {
 public:
  // A new pod's certificate waits for this; a tool that writes several files is finished by then.
  static constexpr Duration kSettle = std::chrono::milliseconds(50);
  // After a token file could not be written.
  static constexpr Duration kRetry = std::chrono::seconds(10);

  Nodes(Loop& loop, io::Files& files, std::string manifest_directory, std::string token_directory);

  Result<void> start();
  const AllowedIdentities& identities() const { return identities_; }
  const NodeTokens& tokens() const { return tokens_; }

  std::size_t known() const { return identities_.nodes().size(); }
  std::size_t broken_files() const { return identities_.broken_files(); }
  // Readings of a folder, and writings of a token, that failed.
  std::uint64_t manifest_errors() const { return manifest_errors_; }
  std::uint64_t token_errors() const { return token_errors_; }

 private:
  void manifests_changed();
  void tokens_changed();
  void give_tokens();

  Loop& loop_;
  io::Files& files_;
  const std::string manifest_directory_;
  FolderIdentities identities_;
  NodeTokens tokens_;
  std::set<std::string> provided_;  // nodes that have been given a token since they appeared
  std::unique_ptr<io::Files::Watch> manifest_watch_, token_watch_;
  std::uint64_t manifest_errors_ = 0, token_errors_ = 0;
  std::string manifest_error_;  // logged once, for a folder that is gone is looked at every second
  Timer retry_;
};

}  // namespace weft::certs::manager
