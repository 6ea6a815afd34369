// weftctl: says what the mesh makes of manifests, and why.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "lib/asio/files.h"
#include "lib/asio/loop.h"
#include "lib/sources/read.h"
#include "tools/weftctl/analyze.h"
#include "tools/weftctl/command_line.h"
#include "tools/weftctl/explain.h"
#include "tools/weftctl/lines.h"

using namespace weft;

namespace {

// no-color.org: set to anything, it wins over the terminal.
ctl::Colour colour_of_output() {
  const char* refused = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  const bool plain = (refused && *refused) || (terminal && std::string_view(terminal) == "dumb");
  return !plain && ::isatty(STDOUT_FILENO) == 1 ? ctl::Colour::kYes : ctl::Colour::kNo;
}

// What was asked for is worth nothing when it did not arrive.
int print(const std::string& text, int exit_status) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (written) return exit_status;
  std::fputs("weftctl: cannot write to standard output\n", stderr);
  return EXIT_FAILURE;
}

// Answers come as their requests do, so that a program can ask one at a time.
int explain(io::Files& files, const ctl::ExplainOptions& options) {
  const auto read = sources::read_manifests(files, options.manifests, {.default_namespace = options.default_namespace});
  for (const auto& problem : read.problems) {
    const auto where = problem.file + (problem.problem.line ? ":" + std::to_string(problem.problem.line) : "");
    std::fputs(("weftctl: " + where + ": " + problem.problem.message + "\n").c_str(), stderr);
  }
  if (read.unreadable > 0) return ctl::kUnreadable;
  const auto inventory = ctl::take_inventory(read.objects, options.translate);
  ctl::Lines lines(STDIN_FILENO);
  while (auto line = lines.next()) {
    if (line->find_first_not_of(" \t\r") == std::string::npos) continue;
    if (const int status = print(ctl::explain_line(inventory, options.translate, *line) + "\n", 0)) return status;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto command = ctl::read_command_line(argc, argv, colour_of_output());
  if (!command) return command.error();
  if (const auto* text = std::get_if<ctl::Print>(&*command)) return print(text->text, 0);
  asio::Loop loop;
  asio::KernelFiles files(loop);
  if (const auto* options = std::get_if<ctl::ExplainOptions>(&*command)) return explain(files, *options);
  const auto analysis = ctl::analyze(files, std::get<ctl::AnalyzeOptions>(*command));
  return print(analysis.text, analysis.exit_status);
}
