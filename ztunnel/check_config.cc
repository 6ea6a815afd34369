#include "ztunnel/check_config.h"

#include "lib/base/log.h"
#include "ztunnel/authority.h"
#include "ztunnel/mesh.h"

namespace weft::ztunnel {
namespace {

void add_lines(std::vector<std::string>& problems, std::string_view text) {
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    problems.emplace_back(line);
  }
}

void check_files(SettingReader& reader, io::Files& files, std::vector<std::string>& problems) {
  const auto note = [&problems](const char* name, const Error& error) {
    problems.push_back(std::string(name) + ": " + error.message());
  };
  if (const auto path = reader.text("LOCAL_XDS_PATH"), text = reader.text("LOCAL_XDS"); !path.empty() || !text.empty()) {
    auto objects = read_local_config(files, path, text);
    if (!objects) note(path.empty() ? "LOCAL_XDS" : "LOCAL_XDS_PATH", objects.error());
  }
  if (const auto folder = reader.text("MANIFEST_DIR"); !folder.empty()) {
    auto listed = files.list(folder);
    if (!listed) note("MANIFEST_DIR", listed.error());
  }
  if (auto roots = authority_roots(files, reader.text("CA_ROOT_CA")).load({}); !roots) note("CA_ROOT_CA", roots.error());
  if (auto token = authority_token(files, reader.text("AUTH_TOKEN")).authorization(); !token)
    note("AUTH_TOKEN", token.error());
  if (auto filter = log::check_filter(reader.text("RUST_LOG")); !filter) note("RUST_LOG", filter.error());
}

}  // namespace

std::vector<std::string> check_config(const Environment& environment, unsigned cpus,
                                      const Result<std::optional<std::string>>& mesh_config, io::Files& files) {
  std::vector<std::string> problems;
  if (!mesh_config) problems.push_back(mesh_config.error().message());
  auto settings = load_settings(environment, cpus, mesh_config ? *mesh_config : std::nullopt);
  if (!settings) add_lines(problems, settings.error().message());
  SettingReader reader(environment);
  check_files(reader, files, problems);
  return problems;
}

}  // namespace weft::ztunnel
