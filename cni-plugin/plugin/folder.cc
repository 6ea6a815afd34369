#include "cni-plugin/plugin/folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "lib/base/fd.h"
#include "lib/manifest/parse.h"

namespace weft::cni::plugin {
namespace {

constexpr int kDepthLimit = 8;  // as lib/asio's list, against symbolic links back up

Result<std::string> read_file(const std::string& path, std::size_t bytes_max) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, path);
  std::string text;
  char part[64 * 1024];
  for (;;) {
    const auto got = ::read(fd.get(), part, sizeof part);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, path);
    if (got == 0) return text;
    text.append(part, static_cast<std::size_t>(got));
    if (text.size() > bytes_max)
      return fail(ErrorCode::kLimit, path + ": larger than " + std::to_string(bytes_max) + " bytes");
  }
}

Result<std::vector<std::string>> list_manifests(const std::string& directory) {
  namespace files = std::filesystem;
  std::error_code problem;
  std::vector<std::string> out;
  files::recursive_directory_iterator at(directory, files::directory_options::follow_directory_symlink, problem);
  for (; !problem && at != files::recursive_directory_iterator(); at.increment(problem)) {
    if (at.depth() >= kDepthLimit) at.disable_recursion_pending();
    const auto extension = at->path().extension();
    std::error_code ignored;
    if ((extension == ".yaml" || extension == ".yml" || extension == ".json") && at->is_regular_file(ignored)) {
      out.push_back(at->path().string());
    }
  }
  if (problem) return fail_errno(problem.value(), directory);
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

Result<FolderContents> read_folder(const std::string& directory) {
  WEFT_TRY(const auto paths, list_manifests(directory));
  FolderContents out;
  const manifest::ParseOptions options;
  for (const auto& path : paths) {
    const auto text = read_file(path, options.limits.bytes);
    if (!text) {
      // Gone between listing and reading: so are its objects.
      if (text.error().code() != ErrorCode::kNotFound) out.unreadable.push_back({text.error().message(), ""});
      continue;
    }
    auto parsed = manifest::parse(*text, path, options);
    if (parsed.readable) {
      out.objects.insert(out.objects.end(), parsed.objects.begin(), parsed.objects.end());
    } else {
      const auto why = std::find_if(parsed.problems.begin(), parsed.problems.end(),
                                    [](const auto& problem) { return problem.reason == "Unreadable"; });
      out.unreadable.push_back({path + ": " + (why == parsed.problems.end() ? "not readable" : why->message), *text});
    }
  }
  return out;
}

}  // namespace weft::cni::plugin
