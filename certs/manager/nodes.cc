#include "certs/manager/nodes.h"

#include "lib/base/log.h"

namespace weft::certs::manager {

Nodes::Nodes(Loop& loop, io::Files& files, std::string manifest_directory, std::string token_directory)
    : loop_(loop),
      files_(files),
      manifest_directory_(std::move(manifest_directory)),
      identities_(files, manifest_directory_),
      tokens_(files, std::move(token_directory)),
      retry_([this] { give_tokens(); }) {}

Result<void> Nodes::start() {
  WEFT_TRY_VOID(tokens_.reload());
  WEFT_TRY(token_watch_, files_.watch(tokens_.directory(), kSettle, [this] { tokens_changed(); }));
  WEFT_TRY(manifest_watch_, files_.watch(manifest_directory_, kSettle, [this] { manifests_changed(); }));
  WEFT_TRY_VOID(identities_.reload());
  give_tokens();
  return {};
}

void Nodes::manifests_changed() {
  auto read = identities_.reload();
  if (!read) {
    ++manifest_errors_;
    if (manifest_error_ == read.error().message()) return;
    manifest_error_ = read.error().message();
    WEFT_LOG(kWarn, "ca", "cannot read the manifests, their last good state stays", {"directory", manifest_directory_},
             {"error", manifest_error_});
    return;
  }
  manifest_error_.clear();
  manifest_errors_ += identities_.broken_files();
  give_tokens();
}

void Nodes::tokens_changed() {
  auto read = tokens_.reload();
  if (read) return;
  ++token_errors_;
  WEFT_LOG(kWarn, "ca", "cannot read the tokens, those known stay", {"directory", tokens_.directory()},
           {"error", read.error().message()});
}

void Nodes::give_tokens() {
  std::erase_if(provided_, [this](const std::string& node) { return !identities_.nodes().contains(node); });
  bool again = false;
  for (const auto& node : identities_.nodes()) {
    if (provided_.contains(node)) continue;
    auto given = tokens_.ensure(node);
    if (given) {
      provided_.insert(node);
      continue;
    }
    ++token_errors_;
    WEFT_LOG(kWarn, "ca", "cannot give a node its token", {"node", node}, {"error", given.error().message()});
    // A name that can never be a file is not tried again until it has gone.
    if (given.error().code() == ErrorCode::kInvalidArgument) provided_.insert(node);
    again |= given.error().code() != ErrorCode::kInvalidArgument;
  }
  if (again) loop_.arm(retry_, loop_.now() + kRetry);
}

}  // namespace weft::certs::manager
