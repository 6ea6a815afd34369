// ztunnel: the node proxy. Command line, environment and exit codes are those of Istio's ztunnel.
#include <cstdio>
#include <string>

#include "lib/base/log.h"
#include "lib/linux/limits.h"
#include "lib/runtime/process.h"
#include "ztunnel/app.h"
#include "ztunnel/build_info.h"
#include "ztunnel/settings.h"

namespace weft::ztunnel {
namespace {

constexpr const char* kHelp =
    "Istio Ztunnel (%s)\n"
    "\n"
    "Commands:\n"
    "  proxy (default) - Start the ztunnel proxy\n"
    "  version         - Print the version of ztunnel\n"
    "  help            - Print commands and version of ztunnel\n"
    "\n"
    "Settings come from the environment; docs/settings.md lists them.\n";

std::string joined(int count, char** words) {
  std::string text;
  for (int i = 1; i < count; ++i) text += (i > 1 ? " " : "") + std::string(words[i]);
  return text;
}

int run_proxy(const std::map<std::string, std::string>& environment, std::string arguments) {
  auto mesh_config = read_mesh_config();
  if (!mesh_config) {
    std::fprintf(stderr, "Error: %s\n", mesh_config.error().message().c_str());
    return runtime::kExitFailure;
  }
  auto settings = load_settings(environment, linux::usable_cpus(), *mesh_config);
  if (!settings) {
    std::fprintf(stderr, "Error: %s\n", settings.error().message().c_str());
    return runtime::kExitFailure;
  }
  settings->proxy_args = std::move(arguments);
  log::init(settings->log_json ? log::Format::kJson : log::Format::kPlain, settings->log_filter);
  WEFT_LOG(kInfo, "ztunnel", "version", {"version", build_info(settings->istio_version), log::FieldKind::kDisplay});
  runtime::prepare_process();
  App app(std::move(*settings));
  return app.run();
}

}  // namespace
}  // namespace weft::ztunnel

int main(int count, char** words) {
  using namespace weft::ztunnel;
  const auto environment = process_environment();
  const auto istio = environment.find("ISTIO_META_ISTIO_VERSION");
  const std::string info = build_info(istio == environment.end() ? "" : istio->second);
  const std::string command = count > 1 ? words[1] : "proxy";
  if (command == "version") {
    std::printf("%s\n", info.c_str());
    return weft::runtime::kExitOk;
  }
  if (command == "help") {
    std::printf(kHelp, info.c_str());
    return weft::runtime::kExitOk;
  }
  if (command != "proxy") {
    std::fprintf(stderr, "unknown command: %s\n", command.c_str());
    std::fprintf(stderr, kHelp, info.c_str());
    return weft::runtime::kExitFailure;
  }
  const int code = run_proxy(environment, joined(count, words));
  weft::log::flush();
  return code;
}
