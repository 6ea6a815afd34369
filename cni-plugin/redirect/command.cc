#include "cni-plugin/redirect/command.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "lib/base/fd.h"
#include "lib/base/scope_exit.h"

namespace weft::cni::redirect {
namespace {

Result<std::string> find(const Command& command) {
  const char* path = ::getenv("PATH");
  std::string folders = std::string(path ? path : "") + ":/usr/sbin:/sbin";
  for (std::size_t at = 0; at < folders.size();) {
    const auto end = std::min(folders.find(':', at), folders.size());
    const auto file = folders.substr(at, end - at) + "/" + command.program;
    if (end > at && ::access(file.c_str(), X_OK) == 0) return file;
    at = end + 1;
  }
  return fail(ErrorCode::kNotFound,
              command.program + " is not in PATH, /usr/sbin or /sbin: install the package " + std::string(command.package));
}

// Files in memory instead of pipes: nobody has to read and write at the same time.
Result<Fd> memory_file(const char* name) {
  Fd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return fail_errno(errno, "memfd_create");
  return fd;
}

// Cannot grow beyond `size`: a write past it fails in the writer.
Result<Fd> bounded_file(const char* name, std::size_t size) {
  WEFT_TRY(Fd fd, memory_file(name));
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0 || ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_GROW) != 0) {
    return fail_errno(errno, "bound a file in memory");
  }
  return fd;
}

// What was written through any descriptor of this open file: they share its position.
std::string written(const Fd& fd) {
  const auto size = ::lseek(fd.get(), 0, SEEK_CUR);
  if (size <= 0) return {};
  std::string text(static_cast<std::size_t>(size), '\0');
  const auto got = ::pread(fd.get(), text.data(), text.size(), 0);
  text.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  return text;
}

Result<pid_t> start(const std::string& file, const Command& command, const Fd& in, const Fd& out, const Fd& err) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawnattr_init(&attributes);
  const ScopeExit free([&] {
    ::posix_spawn_file_actions_destroy(&files);
    ::posix_spawnattr_destroy(&attributes);
  });
  ::posix_spawn_file_actions_adddup2(&files, in.get(), STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, out.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, err.get(), STDERR_FILENO);
  // The caller may have blocked or ignored signals; the program should not have.
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<char*> arguments{const_cast<char*>(command.program.c_str())}, variables;
  for (const auto& argument : command.arguments) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  for (char** variable = environ; *variable; ++variable) variables.push_back(*variable);
  for (const auto& variable : command.environment) variables.push_back(const_cast<char*>(variable.c_str()));
  variables.push_back(nullptr);
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, file.c_str(), &files, &attributes, arguments.data(), variables.data());
  if (error != 0) return fail_errno(error, "start " + file);
  return pid;
}

// The wait status; after the time limit the process is killed first.
Result<int> wait_for(pid_t pid, const std::string& name) {
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  bool late = false;
  if (process) {
    pollfd poll{process.get(), POLLIN, 0};
    int ready;
    do {
      ready = ::poll(&poll, 1, static_cast<int>(kCommandTimeLimit.count()));
    } while (ready < 0 && errno == EINTR);
    late = ready <= 0;
  }
  if (late) ::kill(pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return fail_errno(errno, "wait for " + name);
  }
  if (late) return fail(ErrorCode::kTimeout, name + " did not finish in time and was killed");
  return status;
}

// Complaints of several lines on one, as long as a log line bears.
std::string one_line(std::string text) {
  constexpr std::size_t kLongest = 300;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  for (char& c : text) {
    if (c == '\n' || c == '\t') c = ' ';
  }
  return text.substr(0, kLongest);
}

ErrorCode code_of(std::string_view complaint) {
  const auto says = [&](std::string_view text) { return complaint.find(text) != complaint.npos; };
  if (says("Operation not permitted") || says("Permission denied")) return ErrorCode::kPermission;
  if (says("xtables lock")) return ErrorCode::kUnavailable;
  // What kernels without a module have iptables and nft say.
  if (says("not supported") || says("missing kernel module") || says("do you need to insmod") || says("Protocol wrong")) {
    return ErrorCode::kUnsupported;
  }
  return ErrorCode::kIo;
}

}  // namespace

Result<std::string> run_command(const Command& command) {
  WEFT_TRY(const std::string file, find(command));
  WEFT_TRY(Fd in, memory_file("rules-in"));
  for (auto rest = command.input; !rest.empty();) {
    const auto put = ::write(in.get(), rest.data(), rest.size());
    if (put < 0) return fail_errno(errno, "write rules into memory");
    rest.remove_prefix(static_cast<std::size_t>(put));
  }
  ::lseek(in.get(), 0, SEEK_SET);
  WEFT_TRY(Fd out, bounded_file("rules-out", kCommandOutputMax));
  WEFT_TRY(Fd err, bounded_file("rules-err", 16 * 1024));
  WEFT_TRY(const pid_t pid, start(file, command, in, out, err));
  WEFT_TRY(const int status, wait_for(pid, command.program));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return written(out);
  const auto complaint = one_line(written(err));
  return fail(code_of(complaint), command.program + " failed: " +
                                      (complaint.empty() ? "it was ended by a signal or printed too much" : complaint));
}

}  // namespace weft::cni::redirect
