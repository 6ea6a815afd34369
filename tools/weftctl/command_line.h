// The command line of weftctl: what is asked for, or why it cannot be.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "lib/translate/options.h"
#include "tools/weftctl/node.h"

namespace weft::ctl {

// sysexits(3) EX_USAGE.
inline constexpr int kExitUsage = 64;

enum class Format { kText, kJson };
enum class Colour { kNo, kYes };

struct AnalyzeOptions {
  std::vector<std::string> paths;
  std::string default_namespace = "default";
  Format format = Format::kText;
  Colour colour = Colour::kNo;
  translate::Options translate;
};

struct ExplainOptions {
  std::optional<NodeAddress> admin;  // a node to ask; none: the manifests
  std::vector<std::string> manifests;
  std::string default_namespace = "default";
  translate::Options translate;
};

struct StatusOptions {
  std::vector<std::pair<NodeAddress, NodeAddress>> nodes;  // of ztunnel and agent; never empty
  Format format = Format::kText;
  Colour colour = Colour::kNo;
};

// A text to print as it is: completion, version.
struct Print {
  std::string text;
};

using Command = std::variant<AnalyzeOptions, ExplainOptions, StatusOptions, Print>;

// An exit status instead when there is nothing to do: 0 after help, kExitUsage after a wrong command line; what is to be
// said was printed then. `colour`: whether standard output is a terminal that takes it.
std::expected<Command, int> read_command_line(int argc, char** argv, Colour colour);

}  // namespace weft::ctl
