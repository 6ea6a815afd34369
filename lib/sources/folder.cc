#include "lib/sources/folder.h"

#include <algorithm>
#include <set>

#include "lib/base/log.h"
#include "lib/io/manifest_name.h"
#include "lib/sources/read.h"

namespace weft::sources {
namespace {

std::string name_of(const manifest::Object& object) {
  const auto& meta = object.meta;
  return object.kind + " " + (meta.namespace_.empty() ? "" : meta.namespace_ + "/") + meta.name;
}

// Of a file that had objects.
manifest::ParseResult blank() {
  const char* message = "the file is blank; remove it to remove its objects";
  return {.objects = {}, .problems = {{manifest::Level::kError, "Unreadable", "", message, 1}}, .readable = false};
}

}  // namespace

FolderSource::FolderSource(io::Files& files, FolderSettings settings, OnUpdate on_update)
    : files_(files), settings_(std::move(settings)), on_update_(std::move(on_update)) {}

Result<void> FolderSource::start() {
  // Watch first: a change between the first reading and the watch would be lost.
  WEFT_TRY(auto watch, files_.watch(settings_.directory, settings_.settle, [this] { (void)refresh(); }));
  watch_ = std::move(watch);
  return refresh();
}

Result<void> FolderSource::refresh() {
  auto listed = files_.list(settings_.directory);
  if (!listed) {
    on_list_error(listed.error());
    return std::unexpected(std::move(listed).error());
  }
  list_error_.clear();
  std::vector<std::string> changed;
  std::set<std::string> present;
  for (auto& path : *listed) {
    if (!io::is_manifest_name(path)) continue;
    bool vanished = false;
    auto [at, added] = by_path_.try_emplace(path);
    if (read_file(path, at->second, vanished) || added) changed.push_back(path);
    if (vanished) continue;
    present.insert(path);
    if (at->second.read_error.empty()) continue;
    // It may be a link to a folder that cannot be looked at now: what was below has not gone.
    for (auto below = by_path_.lower_bound(path + "/"); below != by_path_.end() && below->first.starts_with(path + "/");
         ++below)
      present.insert(below->first);
  }
  for (auto at = by_path_.begin(); at != by_path_.end();) {
    if (present.contains(at->first)) {
      ++at;
      continue;
    }
    changed.push_back(at->first);
    at = by_path_.erase(at);
  }
  std::sort(changed.begin(), changed.end());
  if (!changed.empty() || !state_) publish(changed);
  return {};
}

void FolderSource::on_list_error(const Error& error) {
  ++counters_.errors;
  if (watch_) watch_->look_again(kReadAgain);
  if (list_error_ == error.message()) return;
  list_error_ = error.message();
  WEFT_LOG(kWarn, "manifests", "folder cannot be read, its last state is kept", {"folder", settings_.directory},
           {"error", list_error_});
}

void FolderSource::on_read_error(const Error& error) {
  ++counters_.errors;
  if (watch_ && out_of_resources(error.os_error())) watch_->look_again(kReadAgain);
}

bool FolderSource::read_file(const std::string& path, File& file, bool& vanished) {
  auto text = files_.read(path, settings_.parse.limits.bytes);
  if (text) {
    file.read_error.clear();
    return apply(path, *text, file);
  }
  if (text.error().code() == ErrorCode::kNotFound) {
    vanished = true;  // between listing and reading
    return true;
  }
  on_read_error(text.error());
  if (file.read_error == text.error().message()) return false;
  file.read_error = text.error().message();
  file.fingerprint = file.size = 0;  // whatever it holds when it can be read again is new
  file.problems = {{path, {manifest::Level::kError, "Unreadable", "", file.read_error, 0}, true}};
  WEFT_LOG(kWarn, "manifests", file.known ? "file cannot be read, its last good state is kept" : "file cannot be read",
           {"file", path}, {"error", file.read_error});
  return true;
}

bool FolderSource::apply(const std::string& path, std::string_view text, File& file) {
  const auto fingerprint = std::hash<std::string_view>{}(text) | 1;  // never the value of a file not yet read
  if (file.fingerprint == fingerprint && file.size == text.size()) return false;
  file.fingerprint = fingerprint;
  file.size = text.size();
  // A shell empties a file before it writes it, and a full disk leaves it so.
  const bool emptied = !file.objects.empty() && text.find_first_not_of(" \t\r\n\v\f") == text.npos;
  auto parsed = emptied ? blank() : manifest::parse(text, path, settings_.parse);
  file.problems.clear();
  for (auto& problem : parsed.problems) {
    const bool whole = problem.reason == "Unreadable";
    if (whole) ++counters_.errors;
    const char* what = !whole       ? "document is not an object"
                       : file.known ? "file cannot be parsed, its last good state is kept"
                                    : "file cannot be parsed";
    WEFT_LOG(kWarn, "manifests", what, {"file", path + ":" + std::to_string(problem.line)}, {"error", problem.message});
    file.problems.push_back({path, std::move(problem), whole});
  }
  if (parsed.readable) {
    file.objects = std::move(parsed.objects);
    file.known = true;
  }
  return true;
}

std::vector<std::string> FolderSource::unknown() const {
  std::vector<std::string> paths;
  for (const auto& [path, file] : by_path_) {
    if (!file.known) paths.push_back(path);
  }
  if (!complete_ && state_ && !state_->output.mesh_config_error.empty()) {
    paths.push_back("mesh configuration: " + state_->output.mesh_config_error);
  }
  return paths;
}

void FolderSource::publish(const std::vector<std::string>& changed) {
  auto state = std::make_shared<FolderState>();
  counters_.files = by_path_.size();
  counters_.unreadable = 0;
  counters_.not_objects = 0;
  for (const auto& [path, file] : by_path_) {
    state->objects.insert(state->objects.end(), file.objects.begin(), file.objects.end());
    bool kept = false;
    for (const auto& problem : file.problems) {
      kept |= problem.kept_last_good;
      counters_.not_objects += problem.kept_last_good ? 0 : 1;
      state->problems.push_back(problem);
    }
    counters_.unreadable += kept ? 1 : 0;
  }
  state->output = translate::translate(state->objects, settings_.translate, state_ ? &state_->output : nullptr);
  for (const auto& [name, known] : state->output.namespaces) {
    if (!known.gone || state_->output.namespaces.at(name).gone) continue;
    WEFT_LOG(kWarn, "manifests", "namespace is not described any more, what was said of it last stays in force",
             {"namespace", name});
  }
  const auto& broken = state->output.mesh_config_error;
  if (!broken.empty() && (!state_ || broken != state_->output.mesh_config_error)) ++counters_.errors;
  for (const auto& status : state->output.statuses) {
    if (!std::binary_search(changed.begin(), changed.end(), status.object->file)) continue;
    for (const auto& condition : status.conditions) {
      if (condition.type != translate::kFullyApplied || condition.level == translate::Level::kInfo) continue;
      const auto where = status.object->file + ":" + std::to_string(condition.line ? condition.line : status.object->line);
      if (condition.level == translate::Level::kError) {
        WEFT_LOG(kWarn, "manifests", "object is not fully applied", {"object", name_of(*status.object)}, {"file", where},
                 {"reason", condition.reason}, {"message", condition.message});
      } else {
        WEFT_LOG(kInfo, "manifests", "object is not fully applied", {"object", name_of(*status.object)}, {"file", where},
                 {"reason", condition.reason}, {"message", condition.message});
      }
    }
  }
  ++counters_.updates;
  state_ = std::move(state);
  complete_ = complete_ || unknown().empty();
  if (on_update_) on_update_(state_);
}

}  // namespace weft::sources
