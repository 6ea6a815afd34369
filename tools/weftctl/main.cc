// weftctl: says what the mesh makes of manifests, and why.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "lib/asio/files.h"
#include "lib/asio/loop.h"
#include "lib/asio/network.h"
#include "lib/asio/resolver.h"
#include "lib/async/scope.h"
#include "lib/explain/explain.h"
#include "lib/sources/read.h"
#include "tools/weftctl/analyze.h"
#include "tools/weftctl/command_line.h"
#include "tools/weftctl/inventory.h"
#include "tools/weftctl/lines.h"
#include "tools/weftctl/status_text.h"

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

int complain(const std::string& what) {
  std::fputs(("weftctl: " + what + "\n").c_str(), stderr);
  return ctl::kUnreadable;
}

template <typename T>
Task<void> keep(asio::Loop& loop, Task<T> task, std::optional<T>& out) {
  auto value = co_await std::move(task);
  out.emplace(std::move(value));
  loop.stop();
}

template <typename T>
T run(asio::Loop& loop, Task<T> task) {
  Scope scope(loop);
  std::optional<T> out;
  scope.spawn(keep(loop, std::move(task), out));
  loop.run();
  return std::move(*out);
}

bool is_blank(const std::string& line) { return line.find_first_not_of(" \t\r") == std::string::npos; }

std::optional<std::string> next_question(ctl::Lines& lines) {
  auto line = lines.next();
  while (line && is_blank(*line)) line = lines.next();
  return line;
}

// Answers come as their requests do, so that a program can ask one at a time; what has come already is asked at once.
int explain_live(asio::Loop& loop, ctl::Node& node) {
  ctl::Lines lines(STDIN_FILENO);
  std::string questions;            // of which no answer has come
  std::optional<std::string> line;  // that is not among them yet
  for (;;) {
    if (questions.empty() && !line && !(line = next_question(lines))) return 0;
    while (line || lines.ready()) {
      if (!line) line = lines.next();
      if (questions.size() + line->size() >= explain::kBatchMax) break;
      if (!is_blank(*line)) questions += *line + "\n";
      line.reset();
    }
    const auto answers = run(loop, ctl::ask_explain(node, questions));
    if (!answers) return complain(answers.error().message());
    for (auto left = std::count(answers->begin(), answers->end(), '\n'); left > 0; --left)
      questions.erase(0, questions.find('\n') + 1);
    if (const int status = print(*answers, 0)) return status;
  }
}

int explain_manifests(io::Files& files, const ctl::ExplainOptions& options) {
  const auto read = sources::read_manifests(files, options.manifests, {.default_namespace = options.default_namespace});
  for (const auto& problem : read.problems) {
    const auto where = problem.file + (problem.problem.line ? ":" + std::to_string(problem.problem.line) : "");
    (void)complain(where + ": " + problem.problem.message);
  }
  if (read.unreadable > 0) return ctl::kUnreadable;
  const auto facts = ctl::take_inventory(read.objects, options.translate);
  ctl::Lines lines(STDIN_FILENO);
  while (const auto line = next_question(lines)) {
    if (const int status = print(explain::explain_line(facts, *line) + "\n", 0)) return status;
  }
  return 0;
}

int status(asio::Loop& loop, io::Network& network, io::Resolver& resolver, const ctl::StatusOptions& options) {
  std::vector<ctl::NodeStatus> nodes;
  for (const auto& [proxy, agent] : options.nodes)
    nodes.push_back(ctl::judge_status(run(loop, ctl::ask_status(loop, network, resolver, proxy, agent))));
  const bool json = options.format == ctl::Format::kJson;
  return print(json ? ctl::status_json(nodes) : ctl::status_text(nodes, options.colour), ctl::exit_status_of(nodes));
}

}  // namespace

int main(int argc, char** argv) {
  const auto command = ctl::read_command_line(argc, argv, colour_of_output());
  if (!command) return command.error();
  if (const auto* text = std::get_if<ctl::Print>(&*command)) return print(text->text, 0);
  asio::Loop loop;
  asio::KernelFiles files(loop);
  asio::Networks networks(loop);
  const auto network = networks.own();
  asio::Resolver resolver(loop);
  if (const auto* options = std::get_if<ctl::ExplainOptions>(&*command)) {
    if (!options->admin) return explain_manifests(files, *options);
    ctl::Node node(loop, *network, resolver, *options->admin);
    return explain_live(loop, node);
  }
  if (const auto* options = std::get_if<ctl::StatusOptions>(&*command)) return status(loop, *network, resolver, *options);
  const auto analysis = ctl::analyze(files, std::get<ctl::AnalyzeOptions>(*command));
  return print(analysis.text, analysis.exit_status);
}
