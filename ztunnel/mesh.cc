#include "ztunnel/mesh.h"

#include "lib/base/log.h"
#include "lib/manifest/local_config.h"

namespace weft::ztunnel {
namespace {

// A mesh of 100,000 workloads written out; beyond it something else was named.
constexpr std::size_t kLocalConfigMax = 256 * 1024 * 1024;

sources::FolderSettings folder_settings(const Settings& settings) {
  sources::FolderSettings folder;
  folder.directory = settings.manifest_dir;
  folder.translate.cluster_id = settings.cluster_id;
  folder.translate.network = settings.network;
  folder.translate.trust_domain = settings.trust_domain;
  folder.translate.cluster_domain = settings.cluster_domain;
  folder.translate.root_namespace = settings.root_namespace;
  folder.translate.enablement = settings.enablement;
  folder.translate.excluded_namespaces = settings.excluded_namespaces;
  if (settings.l7_deny_at_l4) folder.translate.http_in_deny = translate::Options::HttpInDeny::kDeny;
  return folder;
}

Result<std::string> local_text(io::Files& files, const std::string& path, const std::string& text) {
  if (path.empty()) return text;
  auto read = files.read(path, kLocalConfigMax);
  if (!read) return fail(std::move(read).error().within("LOCAL_XDS_PATH " + path));
  return read;
}

Result<model::MeshObjects> parse_local(const std::string& content) {
  if (content.empty()) return model::MeshObjects{};
  auto objects = manifest::parse_local_config(content);
  if (!objects) return fail(std::move(objects).error().within("local configuration"));
  return objects;
}

}  // namespace

Result<model::MeshObjects> read_local_config(io::Files& files, const std::string& path, const std::string& text) {
  WEFT_TRY(auto content, local_text(files, path, text));
  return parse_local(content);
}

Mesh::Mesh(Loop& loop, io::Files& files, const Settings& settings, telemetry::Registry& registry,
           std::function<void(const model::Snapshot&)> on_snapshot)
    : files_(files), settings_(settings), on_snapshot_(std::move(on_snapshot)), published_(editor_.last()), complete_(loop) {
  if (settings_.manifest_dir.empty()) {
    complete_.set();
    return;
  }
  auto& without_effect =
      registry
          .gauges("weft_policy_rules_without_effect", "The number of DENY rules that can never fire at layer 4 (unstable)")
          .with();
  auto& unreadable =
      registry
          .gauges("weft_manifest_files_unreadable", "The number of manifest files whose last good state is kept (unstable)")
          .with();
  auto& errors =
      registry.counters("weft_manifest_errors", "The number of times a manifest file could not be applied (unstable)")
          .with();
  folder_ = std::make_unique<sources::FolderSource>(
      files_, folder_settings(settings_), [this, &without_effect](const sources::FolderStatePtr& state) {
        without_effect.set(static_cast<double>(state->output.policy_rules_without_effect));
        editor_.replace("folder", state->mesh());
        commit();
        if (folder_->complete()) complete_.set();
      });
  registry.before_text([this, &unreadable, &errors] {
    const auto& counters = folder_->counters();
    unreadable.set(static_cast<double>(counters.unreadable));
    errors.add(counters.errors - errors.value());
  });
}

Result<void> Mesh::start() {
  if (!settings_.local_xds_path.empty() || !settings_.local_xds.empty()) {
    WEFT_TRY(auto objects, local_config());
    editor_.replace("local", model::MeshObjects(*objects));
    commit();
  }
  if (folder_) WEFT_TRY_VOID(folder_->start());
  const auto& snapshot = *editor_.last();
  WEFT_LOG(kInfo, "state", "mesh read", {"workloads", fmt::to_string(snapshot.workloads().size()), log::FieldKind::kNumber},
           {"services", fmt::to_string(snapshot.services().size()), log::FieldKind::kNumber},
           {"policies", fmt::to_string(snapshot.policies().size()), log::FieldKind::kNumber});
  return {};
}

Task<Result<void>> Mesh::complete(StopToken stop) {
  if (!complete_.is_set()) {
    WEFT_LOG(kError, "state", "no pod is served until every manifest file could be read: mend these, or move them away",
             {"files", fmt::to_string(fmt::join(folder_->unknown(), ", "))});
  }
  auto done = co_await complete_.wait(stop);
  co_return done;
}

explain::Facts Mesh::facts() const {
  explain::Facts facts{.snapshot = editor_.last(),
                       .cluster_id = settings_.cluster_id,
                       .network = settings_.network,
                       .cluster_domain = settings_.cluster_domain,
                       .hbone_port = kHbonePort,
                       .is_own_port = is_illegal_port};
  if (folder_) {
    auto state = folder_->state();
    const auto* origins = &state->output.origins;
    facts.origins = {std::move(state), origins};
  }
  return facts;
}

Result<LocalConfigPtr> Mesh::local_config() {
  WEFT_TRY(auto content, local_text(files_, settings_.local_xds_path, settings_.local_xds));
  if (content != local_text_) {
    WEFT_TRY(auto objects, parse_local(content));
    local_objects_ = std::make_shared<const model::MeshObjects>(std::move(objects));
    local_text_ = std::move(content);
  }
  return local_objects_;
}

void Mesh::commit() {
  auto snapshot = editor_.commit();
  if (snapshot == published_.current()) return;
  on_snapshot_(*snapshot);
  published_.publish(std::move(snapshot));
}

}  // namespace weft::ztunnel
