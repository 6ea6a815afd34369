// weftctl: says what the mesh makes of manifests, and why.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "lib/asio/files.h"
#include "lib/asio/loop.h"
#include "tools/weftctl/analyze.h"
#include "tools/weftctl/command_line.h"

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

}  // namespace

int main(int argc, char** argv) {
  const auto command = ctl::read_command_line(argc, argv, colour_of_output());
  if (!command) return command.error();
  if (const auto* text = std::get_if<ctl::Print>(&*command)) return print(text->text, 0);
  asio::Loop loop;
  asio::KernelFiles files(loop);
  const auto analysis = ctl::analyze(files, std::get<ctl::AnalyzeOptions>(*command));
  return print(analysis.text, analysis.exit_status);
}
