#include "lib/sources/read.h"

#include <cerrno>
#include <set>

#include "lib/io/manifest_name.h"

namespace weft::sources {
namespace {

// What a path may be besides a file.
enum class Maybe { kFile, kEmptyFolder };

void read_file(io::Files& files, const std::string& path, Maybe maybe, const manifest::ParseOptions& options,
               Manifests& out) {
  auto unreadable = [&](manifest::Problem problem) {
    ++out.unreadable;
    out.problems.push_back({path, std::move(problem), true});
  };
  auto text = files.read(path, options.limits.bytes);
  if (!text && maybe == Maybe::kEmptyFolder && text.error().code() == ErrorCode::kInvalidArgument) return;
  ++out.files;
  if (!text) return unreadable({manifest::Level::kError, "Unreadable", "", text.error().message(), 0});
  if (!io::is_manifest_name(path)) {
    out.problems.push_back({path,
                            {manifest::Level::kError, "NotAnObject", "",
                             "no manifest by its name, which ends in none of .yaml, .yml, .json; skipped", 0}});
    return;
  }
  auto parsed = manifest::parse(*text, path, options);
  for (auto& problem : parsed.problems) {
    if (problem.reason == "Unreadable") {
      unreadable(std::move(problem));
    } else {
      out.problems.push_back({path, std::move(problem)});
    }
  }
  if (parsed.readable) out.objects.insert(out.objects.end(), parsed.objects.begin(), parsed.objects.end());
}

}  // namespace

Manifests read_manifests(io::Files& files, const std::vector<std::string>& paths, const manifest::ParseOptions& options) {
  Manifests out;
  std::set<std::string> seen;  // a file named twice is one file
  for (const auto& path : paths) {
    auto listed = files.list(path);
    if (!listed && listed.error().os_error() != ENOTDIR && listed.error().code() != ErrorCode::kNotFound) {
      ++out.files;
      ++out.unreadable;
      out.problems.push_back({path, {manifest::Level::kError, "Unreadable", "", listed.error().message(), 0}, true});
      continue;
    }
    if (!listed || listed->empty()) {
      if (seen.insert(path).second) read_file(files, path, listed ? Maybe::kEmptyFolder : Maybe::kFile, options, out);
      continue;
    }
    for (const auto& file : *listed) {
      if (io::is_manifest_name(file) && seen.insert(file).second) read_file(files, file, Maybe::kFile, options, out);
    }
  }
  return out;
}

}  // namespace weft::sources
