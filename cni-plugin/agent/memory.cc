#include "cni-plugin/agent/memory.h"

#include <nlohmann/json.hpp>

namespace weft::cni::agent {
namespace {

using nlohmann::json;

constexpr unsigned kFileMode = 0600;
// Some 100 bytes a pod: more than any node runs.
constexpr std::size_t kFileSizeMax = 8u << 20;

}  // namespace

Result<void> Memory::load() {
  pods_.clear();
  unsaved_.clear();
  auto text = files_.read(path_, kFileSizeMax);
  if (!text) {
    if (text.error().code() == ErrorCode::kNotFound) return {};
    return fail(std::move(text).error());
  }
  const auto document = json::parse(*text, nullptr, false);
  const auto broken = [this] { return fail(ErrorCode::kInvalidArgument, path_ + " is not a list of pods"); };
  if (!document.is_object()) return broken();
  for (const auto& [uid, netns] : document.items()) {
    if (!netns.is_object() || !netns.contains("device") || !netns.contains("inode")) return broken();
    const auto& device = netns["device"];
    const auto& inode = netns["inode"];
    if (!device.is_number_unsigned() || !inode.is_number_unsigned()) return broken();
    pods_[uid] = {device.get<dev_t>(), inode.get<ino_t>()};
  }
  return {};
}

std::optional<NetnsId> Memory::namespace_of(const std::string& uid) const {
  const auto found = pods_.find(uid);
  if (found == pods_.end()) return std::nullopt;
  return found->second;
}

Result<void> Memory::remember(const std::string& uid, const NetnsId& netns) {
  auto [at, added] = pods_.try_emplace(uid, netns);
  if (!added && at->second == netns && !unsaved_.contains(uid)) return {};
  at->second = netns;
  std::erase_if(pods_, [&](const auto& entry) { return entry.second == netns && entry.first != uid; });
  unsaved_.insert(uid);
  return save();
}

Result<void> Memory::forget(const std::string& uid) {
  unsaved_.erase(uid);
  if (pods_.erase(uid) == 0) return {};
  return save();
}

Result<void> Memory::save() {
  auto document = json::object();
  for (const auto& [uid, netns] : pods_) document[uid] = {{"device", netns.device}, {"inode", netns.inode}};
  auto written = files_.write(path_, document.dump(1, ' ', false, json::error_handler_t::replace), kFileMode);
  if (written) unsaved_.clear();
  return written;
}

}  // namespace weft::cni::agent
