// Completion for bash, made from the command line's own description.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace weft::ctl {

// To be sourced: `source <(weftctl completion bash)`.
std::string bash_completion(const CLI::App& app);

}  // namespace weft::ctl
