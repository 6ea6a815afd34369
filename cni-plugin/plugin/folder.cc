#include "cni-plugin/plugin/folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "lib/base/fd.h"
#include "lib/io/manifest_name.h"
#include "lib/manifest/parse.h"

namespace weft::cni::plugin {
namespace {

namespace fs = std::filesystem;

constexpr int kDepthMax = 8;  // against symbolic links back up

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

// One folder level. As lib/asio's list: what cannot be looked at, and is not gone, is listed if its name is a manifest's, so
// that reading it says why; otherwise it may be a folder, and is an error.
Result<void> collect(const fs::path& directory, int depth, std::vector<std::string>& out) {
  std::error_code error;
  fs::directory_iterator entries(directory, error);
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    const auto& path = entries->path();
    std::error_code unseen;
    const bool folder = entries->is_directory(unseen);
    const bool file = !folder && !unseen && entries->is_regular_file(unseen);
    const bool hidden = unseen && unseen != std::errc::no_such_file_or_directory;
    if (hidden && !io::is_manifest_name(path.native())) return fail_errno(unseen.value(), path.string());
    if (folder) {
      if (depth < kDepthMax) WEFT_TRY_VOID(collect(path, depth + 1, out));
    } else if ((file || hidden) && io::is_manifest_name(path.native())) {
      out.push_back(path.string());
    }
  }
  if (error) return fail_errno(error.value(), directory.string());
  return {};
}

}  // namespace

Result<FolderContents> read_folder(const std::string& directory) {
  std::vector<std::string> paths;
  WEFT_TRY_VOID(collect(directory, 0, paths));
  std::sort(paths.begin(), paths.end());
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
