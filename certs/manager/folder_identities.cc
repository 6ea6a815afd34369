#include "certs/manager/folder_identities.h"

#include <string_view>

#include "lib/base/log.h"
#include "lib/io/manifest_name.h"
#include "lib/manifest/parse.h"

namespace weft::certs::manager {
namespace {
constexpr std::size_t kManifestSizeMax = 64 * 1024 * 1024;
}  // namespace

bool FolderIdentities::read_into(File& file, const std::string& path, const std::string& content) {
  const manifest::ParseResult parsed = manifest::parse(content, path);
  if (!parsed.readable) {
    const std::string why = parsed.problems.empty() ? "unreadable" : parsed.problems.back().message;
    WEFT_LOG(kWarn, "ca", "broken manifest, its last good state stays", {"file", path}, {"error", why});
    return false;
  }
  file.nodes.clear();
  file.pods.clear();
  for (const auto& object : parsed.objects) {
    if (object->as<manifest::Node>()) file.nodes.insert(object->meta.name);
    const auto* pod = object->as<manifest::Pod>();
    if (!pod) continue;
    const bool finished = pod->phase == "Succeeded" || pod->phase == "Failed";
    file.pods[object->meta.namespace_ + "/" + object->meta.name] = {finished ? "" : pod->spec.node_name,
                                                                    {object->meta.namespace_, pod->spec.service_account}};
  }
  return true;
}

Result<void> FolderIdentities::reload() {
  WEFT_TRY(auto paths, files_.list(directory_));
  std::map<std::string, File> next;
  broken_ = 0;
  for (const auto& path : paths) {
    if (!io::is_manifest_name(path)) continue;
    auto known = by_path_.find(path);
    File file = known == by_path_.end() ? File{} : known->second;
    auto content = files_.read(path, kManifestSizeMax);
    if (!content) {
      if (content.error().code() == ErrorCode::kNotFound) continue;  // removed since it was listed
      WEFT_LOG(kWarn, "ca", "cannot read a manifest", {"file", path}, {"error", content.error().message()});
      ++broken_;
    } else if (known == by_path_.end() || *content != file.content) {
      // A broken file keeps its old content too, so that it is parsed, and reported, again next time.
      if (read_into(file, path, *content)) {
        file.content = std::move(*content);
      } else {
        ++broken_;
      }
    }
    next[path] = std::move(file);
  }
  by_path_ = std::move(next);
  accounts_.clear();
  nodes_.clear();
  std::map<std::string_view, const Pod*> pods;
  for (const auto& [path, file] : by_path_) {
    nodes_.insert(file.nodes.begin(), file.nodes.end());
    for (const auto& [name, pod] : file.pods) pods[name] = &pod;
  }
  for (const auto& [name, pod] : pods) {
    if (pod->node.empty()) continue;
    nodes_.insert(pod->node);
    accounts_[pod->node].insert(pod->account);
  }
  return {};
}

bool FolderIdentities::runs_on(const std::string& node, const model::Identity& identity) const {
  auto found = accounts_.find(node);
  return found != accounts_.end() && found->second.contains({identity.namespace_name, identity.service_account});
}

}  // namespace weft::certs::manager
