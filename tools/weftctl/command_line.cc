#include "tools/weftctl/command_line.h"

#include <CLI/CLI.hpp>

#include "tools/weftctl/completion.h"

namespace weft::ctl {
namespace {

constexpr const char* kDescription = "weftctl: says what the mesh makes of your manifests, and why.\n";

constexpr const char* kExamples =
    "\nExamples:\n"
    "  weftctl analyze deploy/                         # every object of a folder, with line numbers\n"
    "  weftctl analyze -n shop -o json policy.yaml     # for programs\n"
    "  source <(weftctl completion bash)               # complete commands in this shell\n"
    "\nThe interface is stable: docs/weftctl.md. A wrong command line exits with 64.\n";

constexpr const char* kAnalyzeExamples =
    "\nExamples:\n"
    "  weftctl analyze deploy/\n"
    "  weftctl analyze -n shop 10-workloads.yaml 30-policies.yaml\n"
    "  weftctl analyze -o json deploy/ | jq '.[] | select(.conditions[].level == \"error\") | .name'\n"
    "\nAll paths together are taken for one cluster; of an object written twice the last counts.\n"
    "Exit status: 0 nothing to act on, 1 findings, 2 a file could not be read (the others are told all the same),\n"
    "64 for a wrong command line.\n";

void add_mesh_options(CLI::App& command, std::string& default_namespace, translate::Options& options) {
  command.add_option("-n,--namespace", default_namespace, "namespace of objects that name none")
      ->type_name("NAMESPACE")
      ->capture_default_str();
  command.add_option("--root-namespace", options.root_namespace, "namespace whose policies hold for the whole mesh")
      ->type_name("NAMESPACE")
      ->capture_default_str();
  command.add_option("--trust-domain", options.trust_domain, "trust domain of the mesh")
      ->type_name("DOMAIN")
      ->capture_default_str();
  command
      .add_option_function<std::string>(
          "--l7-deny-at-l4",
          [&options](const std::string& word) {
            options.http_in_deny =
                word == "deny" ? translate::Options::HttpInDeny::kDeny : translate::Options::HttpInDeny::kLeaveOut;
          },
          "what the node does with HTTP attributes of a DENY rule:\n"
          "leave them out as Istio does, or deny without regard to them")
      ->check(CLI::IsMember({"ignore", "deny"}))
      ->default_str("ignore");
}

}  // namespace

std::expected<Command, int> read_command_line(int argc, char** argv, Colour colour) {
  CLI::App app(kDescription, "weftctl");
  app.footer(kExamples);
  app.require_subcommand(1);

  AnalyzeOptions analyze;
  std::string format = "text";
  auto* analyze_command = app.add_subcommand("analyze", "tell for every object whether and how the mesh applies it");
  analyze_command->footer(kAnalyzeExamples);
  analyze_command->add_option("PATH", analyze.paths, "files and folders of manifests")->required()->type_name("DIR|FILE");
  add_mesh_options(*analyze_command, analyze.default_namespace, analyze.translate);
  analyze_command->add_option("-o,--output", format, "lines for people, or an array for programs")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();

  std::string shell;
  auto* completion_command = app.add_subcommand("completion", "print what a shell needs to complete weftctl's words");
  completion_command->footer("\nExample:\n  source <(weftctl completion bash)\n");
  completion_command->add_option("SHELL", shell, "which shell")->required()->check(CLI::IsMember({"bash"}));

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& end) {
    return std::unexpected(app.exit(end) == 0 ? 0 : kExitUsage);
  }
  if (completion_command->parsed()) return Print{bash_completion(app)};
  analyze.format = format == "json" ? Format::kJson : Format::kText;
  analyze.colour = colour;
  return analyze;
}

}  // namespace weft::ctl
