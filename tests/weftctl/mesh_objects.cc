// Prints the mesh that manifests describe, as the node proxy's /config_dump would show it: for suites that compare the
// translator's output with what others publish.
//
//     mesh_objects [--cluster ID] [--network NAME] [--domain NAME] FILE|DIR...
//     mesh_objects --local FILE        a local configuration file of the node proxy instead of manifests
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "lib/asio/files.h"
#include "lib/asio/loop.h"
#include "lib/async/scope.h"
#include "lib/sources/read.h"
#include "lib/translate/translate.h"
#include "ztunnel/dump/objects.h"
#include "ztunnel/mesh.h"

namespace {

using namespace weft;

int refuse(const std::string& why) {
  std::fprintf(stderr, "mesh_objects: %s\n", why.c_str());
  return 2;
}

Task<void> write(asio::Loop& loop, model::SnapshotPtr mesh) {
  ztunnel::dump::Writer out(loop);
  out.begin('{');
  co_await ztunnel::dump::write_mesh(out, *mesh);
  out.end();
  std::puts(out.take().c_str());
  loop.stop();
}

int print(asio::Loop& loop, model::MeshObjects objects) {
  model::SnapshotEditor editor;
  editor.replace("manifests", std::move(objects));
  Scope scope(loop);
  scope.spawn(write(loop, editor.commit()));
  loop.run();
  return 0;
}

int run(const std::vector<std::string>& words) {
  translate::Options options;
  std::vector<std::string> paths;
  std::string local;
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::string* value = words[i] == "--cluster"   ? &options.cluster_id
                         : words[i] == "--network" ? &options.network
                         : words[i] == "--domain"  ? &options.cluster_domain
                         : words[i] == "--local"   ? &local
                                                   : nullptr;
    if (!value) {
      paths.push_back(words[i]);
    } else if (++i < words.size()) {
      *value = words[i];
    }
  }
  asio::Loop loop;
  asio::KernelFiles files(loop);
  if (!local.empty()) {
    auto objects = ztunnel::read_local_config(files, local, "");
    return objects ? print(loop, std::move(*objects)) : refuse(objects.error().message());
  }
  auto read = sources::read_manifests(files, paths, {});
  if (read.unreadable > 0) return refuse(read.problems.front().problem.message);
  auto output = translate::translate(read.objects, options);
  return print(loop, {std::move(output.workloads), std::move(output.services), std::move(output.policies)});
}

}  // namespace

int main(int argc, char** argv) { return run({argv + 1, argv + argc}); }
