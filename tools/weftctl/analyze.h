// What the mesh will make of a set of manifests: every object with the conditions the translator gives it.
#pragma once

#include <string>

#include "lib/io/files.h"
#include "tools/weftctl/command_line.h"

namespace weft::ctl {

// Exit statuses of `weftctl analyze`.
inline constexpr int kClean = 0;       // every object is fully applied; remarks are no findings
inline constexpr int kFindings = 1;    // an object is not, or something is worth a warning
inline constexpr int kUnreadable = 2;  // a file could not be read or parsed; the others were analysed

struct Analysis {
  std::string text;  // for standard output
  int exit_status = kClean;
};

Analysis analyze(io::Files& files, const AnalyzeOptions& options);

}  // namespace weft::ctl
