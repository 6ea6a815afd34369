// Runs nft(8), iptables-restore(8) and their like. They are programs of their own and never linked, because their libraries
// are under the GPL.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.h"

namespace weft::cni::redirect {

// They take milliseconds; a node that needs longer than this is not usable, and the CNI plugin waits 5 s in all.
inline constexpr std::chrono::milliseconds kCommandTimeLimit{4000};

struct Command {
  std::string program;  // looked for in PATH, /usr/sbin and /sbin
  std::vector<std::string> arguments{};
  std::string_view input{};
  std::string_view package;                // that has the program, for who misses it
  std::vector<std::string> environment{};  // NAME=VALUE, besides our own
};

// What a program may print: rules of a pod are 5 KiB; a pod that may change its own could have it print anything.
inline constexpr std::size_t kCommandOutputMax = 1024 * 1024;

// Executes it in the network namespace of the calling thread and returns what it printed. Blocks at most kCommandTimeLimit,
// then kills it. Errors as in redirect.h; the message quotes what the program complained about.
Result<std::string> run_command(const Command& command);

}  // namespace weft::cni::redirect
