// CNI plugin `weft-cni`: run by the container runtime as the last of a chain, once for each start and end of a pod.
//
// ADD does the work (add.h). DEL tells the agent and succeeds in any case (del.h). CHECK and GC succeed without doing
// anything, as with istio-cni: the node agent verifies rules continuously. STATUS succeeds even while the agent is away,
// because a runtime that hears otherwise starts no pod at all, and the agent is a pod.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "cni-plugin/plugin/add.h"
#include "cni-plugin/plugin/command.h"
#include "cni-plugin/plugin/del.h"
#include "lib/base/error.h"

namespace {

using namespace weft;
using namespace weft::cni::plugin;

std::expected<std::string, CniError> read_input() {
  std::string text;
  char part[16 * 1024];
  for (;;) {
    const auto got = ::read(STDIN_FILENO, part, sizeof part);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return refuse(CniError::kIo, Error::from_errno(errno, "error reading from stdin").message());
    if (got == 0) return text;
    text.append(part, static_cast<std::size_t>(got));
    if (text.size() > kInputMax) return refuse(CniError::kIo, "error reading from stdin: too much");
  }
}

// What goes to standard output.
std::expected<std::string, CniError> run(const Environment& environment) {
  const auto command = read_command(environment);
  if (!command) return std::unexpected(command.error());
  if (*command == Command::kVersion) return versions_json();
  const auto config = read_input();
  if (!config) return std::unexpected(config.error());
  const auto call = read_call(*command, environment, *config);
  if (!call) return std::unexpected(call.error());
  if (call->command == Command::kAdd) return add(*call, environment, *config);
  if (call->command == Command::kDel) del(environment, *config);
  return std::string();
}

int print(const std::expected<std::string, CniError>& outcome) {
  const auto text = outcome ? *outcome : to_json(outcome.error());
  const bool printed = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  return outcome && printed ? 0 : 1;
}

}  // namespace

int main() {
  try {
    const auto environment = read_environment([](const char* name) { return std::getenv(name); });
    if (environment.command.empty()) {
      std::fputs("CNI plugin weft-cni " WEFT_VERSION "\nCNI protocol versions supported: ", stderr);
      for (const auto version : kVersions) std::fprintf(stderr, "%s%s", version == kVersions[0] ? "" : ", ", version.data());
      std::fputs("\n", stderr);
      return 0;
    }
    return print(run(environment));
  } catch (const std::exception& problem) {
    return print(refuse(CniError::kInternal, std::string("internal error: ") + problem.what()));
  }
}
