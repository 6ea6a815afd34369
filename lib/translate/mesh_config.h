// The mesh configuration, as far as this mesh serves it: the YAML in `mesh` of ConfigMap `istio`, which stands in the
// namespace that Options::root_namespace names.
//
// What it names counts; what it leaves out is as Options say, as istiod lays it over what it was started with. Everything
// else in it speaks of sidecars, of Envoy or of istiod itself.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.h"
#include "lib/manifest/object.h"
#include "lib/translate/options.h"

namespace weft::translate {

// Who sees a ServiceEntry: all, clients of its own namespace, nobody.
enum class EntryVisibility { kPublic, kNamespace, kNone };

// serviceEntryVisibility. The first rule that matches a namespace counts; without one, `fallback`.
struct EntryVisibilityRules {
  struct Rule {
    EntryVisibility visibility = EntryVisibility::kPublic;
    std::vector<manifest::LabelSelector> namespaces;  // all must match; none: every namespace
    bool never = false;                               // a matcher of a kind we do not know: matches nothing
    friend bool operator==(const Rule&, const Rule&) = default;
  };
  EntryVisibility fallback = EntryVisibility::kPublic;
  std::vector<Rule> rules;
  friend bool operator==(const EntryVisibilityRules&, const EntryVisibilityRules&) = default;

  EntryVisibility of(const manifest::Labels& namespace_labels) const;
};

struct MeshConfig {
  // Every principal of every policy is written once for each of them.
  static constexpr std::size_t kTrustDomainAliasesMax = 64;

  std::string trust_domain;                       // empty: not named
  std::vector<std::string> trust_domain_aliases;  // other names of it in policies
  std::string root_namespace;                     // empty: not named
  EntryVisibilityRules visibility;
  bool allocates_addresses = false;  // a control plane gives ServiceEntries addresses (ISTIO_META_DNS_AUTO_ALLOCATE)
  friend bool operator==(const MeshConfig&, const MeshConfig&) = default;

  // The options with what is named here laid over them.
  Options over(Options options) const;
};

// kInvalidArgument names the field; then nothing of the text counts.
Result<MeshConfig> parse_mesh_config(std::string_view text);

}  // namespace weft::translate
