#include "lib/translate/mesh_config.h"

#include <algorithm>

#include "lib/manifest/documents.h"
#include "lib/manifest/selector.h"
#include "lib/model/identity.h"
#include "lib/translate/detail/mesh_config.h"

namespace weft::translate {
namespace {

using manifest::Level;
using manifest::Reader;

void invalid(const Reader& at, std::string message) { at.problem(Level::kError, "InvalidValue", std::move(message)); }

void check_trust_domain(const Reader& at) {
  const auto text = at.as_text().value_or("");
  const auto identity = model::Identity::parse("spiffe://" + text + "/ns/n/sa/a");
  const bool plain = std::ranges::all_of(text, [](unsigned char c) { return c > ' ' && c != '*' && c < 0x7f; });
  if (text.empty() || !plain || !identity || identity->trust_domain != text) invalid(at, "is no trust domain");
}

EntryVisibility read_visibility(const Reader& at) {
  const auto word = at ? at.as_text().value_or("") : "PUBLIC";
  if (word == "NAMESPACE") return EntryVisibility::kNamespace;
  if (word == "NONE") return EntryVisibility::kNone;
  if (word != "PUBLIC" && word != "UNSPECIFIED") invalid(at, "is none of PUBLIC, NAMESPACE, NONE");
  return EntryVisibility::kPublic;
}

EntryVisibilityRules read_visibility_rules(const Reader& at) {
  EntryVisibilityRules out;
  out.fallback = read_visibility(at.any("defaultVisibility"));
  for (const auto& policy : at.list("policies")) {
    EntryVisibilityRules::Rule rule;
    rule.visibility = read_visibility(policy.any("visibility"));
    for (const auto& matching : policy.list("matchingRules")) {
      // Written as a wrapped or as a plain alternative.
      const auto wrapped = matching.map("matcher");
      const auto selector = (wrapped ? wrapped : matching).map("namespaceSelector");
      if (!selector) rule.never = true;
      rule.namespaces.push_back(manifest::read_label_selector(selector));
    }
    out.rules.push_back(std::move(rule));
  }
  return out;
}

MeshConfig read(const Reader& mesh) {
  MeshConfig out;
  if (const auto domain = mesh.any("trustDomain")) check_trust_domain(domain);
  out.trust_domain = mesh.text("trustDomain");
  const auto aliases = mesh.list("trustDomainAliases");
  if (aliases.size() > MeshConfig::kTrustDomainAliasesMax)
    invalid(mesh.any("trustDomainAliases"), "more than " + std::to_string(MeshConfig::kTrustDomainAliasesMax));
  for (const auto& alias : aliases) check_trust_domain(alias);
  out.trust_domain_aliases = mesh.texts("trustDomainAliases");
  out.root_namespace = mesh.text("rootNamespace");
  out.allocates_addresses =
      mesh.map("defaultConfig").map("proxyMetadata").any("ISTIO_META_DNS_AUTO_ALLOCATE").as_text() == "true";
  out.visibility = read_visibility_rules(mesh.map("serviceEntryVisibility"));
  return out;
}

}  // namespace

EntryVisibility EntryVisibilityRules::of(const manifest::Labels& namespace_labels) const {
  for (const auto& rule : rules) {
    if (!rule.never &&
        std::ranges::all_of(rule.namespaces, [&](const auto& wanted) { return wanted.matches(namespace_labels); }))
      return rule.visibility;
  }
  return fallback;
}

Options MeshConfig::over(Options options) const {
  if (!trust_domain.empty()) options.trust_domain = trust_domain;
  if (!root_namespace.empty()) options.root_namespace = root_namespace;
  options.trust_domain_aliases = trust_domain_aliases;
  return options;
}

Result<MeshConfig> parse_mesh_config(std::string_view text) {
  const auto documents = manifest::read_yaml(text, {});
  if (documents.error)
    return fail(ErrorCode::kInvalidArgument,
                documents.error->message + ", line " + std::to_string(documents.error->line) + " of the text");
  if (documents.values.size() > 1 || (!documents.values.empty() && !documents.values[0].is_map()))
    return fail(ErrorCode::kInvalidArgument, "expected one map of settings");
  if (documents.values.empty()) return MeshConfig{};
  manifest::Problems problems;
  auto config = read(Reader(&documents.values[0], "", &problems));
  for (const auto& problem : problems.items()) {
    if (problem.level == Level::kError) return fail(ErrorCode::kInvalidArgument, problem.path + ": " + problem.message);
  }
  return config;
}

namespace detail {

ChosenMeshConfig choose_mesh_config(const std::vector<manifest::ObjectPtr>& objects, const Options& options,
                                    const MeshConfig* last_good) {
  ChosenMeshConfig out;
  for (const auto& object : objects) {
    const auto* map = object->as<manifest::ConfigMap>();
    if (!map || object->meta.name != "istio" || object->meta.namespace_ != options.root_namespace) continue;
    const auto bad = std::ranges::find_if(object->problems, [](const auto& problem) {
      return problem.level == Level::kError && problem.path.starts_with("data");
    });
    const auto text = map->data.find("mesh");
    if (bad != object->problems.end()) {
      out.error = bad->path + ": " + bad->message;
    } else if (text != map->data.end()) {
      if (auto parsed = parse_mesh_config(text->second)) {
        out.config = std::move(*parsed);
      } else {
        out.error = "data.mesh: " + parsed.error().message();
      }
    }
    if (out.error.empty()) return out;
    if (last_good) out.config = *last_good;
    out.error += last_good ? "; what it said before stays in force" : "; nothing of it is in force";
    return out;
  }
  return out;
}

}  // namespace detail
}  // namespace weft::translate
