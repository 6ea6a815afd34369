#include "tools/weftctl/completion.h"

#include <CLI/CLI.hpp>
#include <algorithm>

namespace weft::ctl {
namespace {

std::string options_of(const CLI::App& app) {
  std::string words;
  for (const auto* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) words += (words.empty() ? "--" : " --") + name;
    for (const auto& name : option->get_snames()) words += (words.empty() ? "-" : " -") + name;
  }
  return words;
}

// One case for each option that takes one of a few words; the checks describe those as {text,json}.
std::string values_of(const CLI::App& app) {
  std::string cases;
  for (const auto* option : app.get_options()) {
    const auto type = option->get_type_name();
    const auto open = type.find('{');
    const auto close = type.find('}');
    if (open == std::string::npos || close == std::string::npos) continue;
    auto words = type.substr(open + 1, close - open - 1);
    std::replace(words.begin(), words.end(), ',', ' ');
    std::string patterns;
    auto add = [&](const std::string& name) { patterns += (patterns.empty() ? "" : "|") + app.get_name() + ":" + name; };
    for (const auto& name : option->get_lnames()) add("--" + name);
    for (const auto& name : option->get_snames()) add("-" + name);
    if (!patterns.empty())
      cases += "    " + patterns + ") COMPREPLY=($(compgen -W '" + words + "' -- \"$word\")); return ;;\n";
  }
  return cases;
}

}  // namespace

std::string bash_completion(const CLI::App& app) {
  std::string commands, values, options;
  for (const auto* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    commands += (commands.empty() ? "" : " ") + command->get_name();
    values += values_of(*command);
    options +=
        "      " + command->get_name() + ") COMPREPLY=($(compgen -W '" + options_of(*command) + "' -- \"$word\")) ;;\n";
  }
  return "# bash completion for weftctl: source <(weftctl completion bash)\n"
         "_weftctl() {\n"
         "  local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD-1]}\" command=\"${COMP_WORDS[1]}\"\n"
         "  COMPREPLY=()\n"
         "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
         "    COMPREPLY=($(compgen -W '" +
         commands + " " + options_of(app) +
         "' -- \"$word\"))\n"
         "    return\n"
         "  fi\n"
         "  case \"$command:$before\" in\n" +
         values +
         "  esac\n"
         "  if [[ \"$word\" == -* ]]; then\n"
         "    case \"$command\" in\n" +
         options +
         "    esac\n"
         "  elif [ \"$command\" = completion ]; then\n"
         "    COMPREPLY=($(compgen -W 'bash' -- \"$word\"))\n"
         "  else\n"
         "    compopt -o filenames 2>/dev/null\n"
         "    COMPREPLY=($(compgen -f -- \"$word\"))\n"
         "  fi\n"
         "}\n"
         "complete -F _weftctl weftctl\n";
}

}  // namespace weft::ctl
