// Manifests read once, for tools: files and folders in, objects and problems out.
#pragma once

#include <string>
#include <vector>

#include "lib/io/files.h"
#include "lib/manifest/parse.h"

namespace weft::sources {

// What is wrong with one file, now.
struct FileProblem {
  std::string file;
  manifest::Problem problem;
  bool kept_last_good = false;  // the file as a whole is not applied
};

struct Manifests {
  std::vector<manifest::ObjectPtr> objects;  // by path as given, inside a folder by path, then in the order written
  std::vector<FileProblem> problems;         // of files; those of objects are with the objects
  std::size_t files = 0;                     // read, or tried
  std::size_t unreadable = 0;                // of those, the files (and named paths) that gave nothing
};

// Reads every path: a folder as FolderSource does, anything else as a file. A file that cannot be read or parsed gives no
// object and one problem, and every other file is read as usual.
Manifests read_manifests(io::Files& files, const std::vector<std::string>& paths, const manifest::ParseOptions& options);

}  // namespace weft::sources
