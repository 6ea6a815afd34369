#include "lib/asio/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "lib/base/fd.h"
#include "lib/io/manifest_name.h"

namespace weft::asio {
namespace {

constexpr int kDepthMax = 4;
constexpr std::size_t kEntriesMax = 100'000;

Result<void> write_all(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const auto written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno(errno, "write " + path);
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

// One folder level of list(). What vanishes meanwhile is skipped; symbolic links back up end by depth.
Result<void> collect(const std::filesystem::path& directory, int depth, std::vector<std::string>& out) {
  std::error_code error;
  std::filesystem::directory_iterator entries(directory, error);
  if (error) {
    if (depth > 0 && (error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory)) return {};
    return fail_errno(error.value(), "list " + directory.string());
  }
  for (; entries != std::filesystem::directory_iterator(); entries.increment(error)) {
    const auto& entry = *entries;
    if (entry.path().filename().native().starts_with('.')) continue;
    std::error_code unseen;
    const bool folder = entry.is_directory(unseen);
    const bool file = !folder && !unseen && entry.is_regular_file(unseen);
    const bool hidden = unseen && unseen != std::errc::no_such_file_or_directory;
    if (hidden && !io::is_manifest_name(entry.path().native()))
      return fail_errno(unseen.value(), "look at " + entry.path().string());
    if (folder) {
      if (depth < kDepthMax) WEFT_TRY_VOID(collect(entry.path(), depth + 1, out));
    } else if (file || hidden) {
      if (out.size() >= kEntriesMax) return fail(ErrorCode::kLimit, "more than 100000 files below " + directory.string());
      out.push_back(entry.path().string());
    }
  }
  if (error) return fail_errno(error.value(), "list " + directory.string());  // increment() ends the loop with it
  return {};
}

}  // namespace

Result<std::string> KernelFiles::read(const std::string& path, std::size_t size_max) {
  // Non-blocking, so that a named pipe in a watched folder cannot hold the control thread.
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return fail_errno(errno, "open " + path);
  struct stat status;
  if (::fstat(fd.get(), &status) != 0) return fail_errno(errno, "stat " + path);
  if (!S_ISREG(status.st_mode)) return fail(ErrorCode::kInvalidArgument, path + ": not a regular file");
  std::string content;
  char part[16 * 1024];
  for (;;) {
    const auto got = ::read(fd.get(), part, sizeof part);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, "read " + path);
    if (got == 0) return content;
    if (content.size() + static_cast<std::size_t>(got) > size_max) {
      return fail(ErrorCode::kLimit, path + ": larger than " + std::to_string(size_max) + " bytes");
    }
    content.append(part, static_cast<std::size_t>(got));
  }
}

Result<std::vector<std::string>> KernelFiles::list(const std::string& directory) {
  std::vector<std::string> paths;
  WEFT_TRY_VOID(collect(directory, 0, paths));
  std::sort(paths.begin(), paths.end());
  return paths;
}

Result<void> KernelFiles::write(const std::string& path, std::string_view content, unsigned mode) {
  // Same folder, so that rename(2) is atomic; a leading dot, so that list() never shows it.
  const auto slash = path.rfind('/');
  const auto folder = slash == std::string::npos ? std::string(".") : path.substr(0, slash + 1);
  const auto name = slash == std::string::npos ? path : path.substr(slash + 1);
  std::string temporary = folder + (folder.ends_with('/') ? "" : "/") + "." + name + ".XXXXXX";
  Fd fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd) return fail_errno(errno, "create a temporary file beside " + path);
  auto written = write_all(fd.get(), content, path);
  if (written && ::fchmod(fd.get(), mode) != 0) written = fail_errno(errno, "chmod " + path);
  if (written && ::fsync(fd.get()) != 0) written = fail_errno(errno, "fsync " + path);
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0) written = fail_errno(errno, "rename to " + path);
  if (!written) ::unlink(temporary.c_str());
  return written;
}

Result<void> KernelFiles::make_directory(const std::string& path, unsigned mode) {
  if (path.empty()) return fail(ErrorCode::kInvalidArgument, "empty folder name");
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const auto part = path.substr(0, end);
    if (::mkdir(part.c_str(), mode) != 0 && errno != EEXIST) return fail_errno(errno, "create folder " + part);
    if (end == std::string::npos) break;
  }
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) return fail_errno(errno, "stat " + path);
  if (!S_ISDIR(status.st_mode)) return fail_errno(ENOTDIR, path);
  return {};
}

Result<void> KernelFiles::remove(const std::string& path) {
  if (::unlink(path.c_str()) != 0) return fail_errno(errno, "remove " + path);
  return {};
}

}  // namespace weft::asio
