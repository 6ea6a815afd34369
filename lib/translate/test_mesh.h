// For tests of this folder: a mesh from YAML text, and questions to it.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>

#include "lib/base/check.h"
#include "lib/manifest/parse.h"
#include "lib/model/authorize.h"
#include "lib/model/snapshot_editor.h"
#include "lib/translate/translate.h"

namespace weft::translate::testing {

struct Mesh {
  Output output;
  model::SnapshotPtr snapshot;

  // By name, of any namespace; null when there is none.
  const model::Workload* workload(std::string_view name) const { return find(output.workloads, name); }
  const model::Service* service(std::string_view name) const { return find(output.services, name); }
  const model::Policy* policy(std::string_view key) const {
    for (const auto& policy : output.policies) {
      if (policy.key() == key) return &policy;
    }
    return nullptr;
  }
  // The first condition of the object with this type and reason; null when there is none.
  const Condition* condition(std::string_view object, std::string_view type, std::string_view reason) const {
    for (const auto& status : output.statuses) {
      if (status.object->meta.name != object) continue;
      for (const auto& condition : status.conditions) {
        if (condition.type == type && condition.reason == reason) return &condition;
      }
    }
    return nullptr;
  }
  model::Verdict verdict(std::string_view destination, const model::ConnectionFacts& connection) const {
    const auto* workload = this->workload(destination);
    WEFT_CHECK(workload);
    return model::authorize(*snapshot, *workload, connection);
  }

 private:
  template <typename T>
  static const T* find(const std::vector<T>& all, std::string_view name) {
    const auto found = std::ranges::find(all, name, &T::name);
    return found == all.end() ? nullptr : &*found;
  }
};

// The text must be readable; objects may have problems.
inline Mesh make_mesh(std::string_view yaml, const Options& options = {}, const manifest::ParseOptions& parsing = {}) {
  auto parsed = manifest::parse(yaml, "mesh.yaml", parsing);
  WEFT_CHECK(parsed.readable);
  Mesh mesh;
  mesh.output = translate(parsed.objects, options);
  model::SnapshotEditor editor;
  editor.replace("test", {mesh.output.workloads, mesh.output.services, mesh.output.policies});
  mesh.snapshot = editor.commit();
  return mesh;
}

// "shop/frontend" at an address, or plain text when the account is empty.
inline model::ConnectionFacts connection(std::string_view account, std::string_view source_ip, std::uint16_t port,
                                         std::string_view destination_ip = "10.0.0.9") {
  model::ConnectionFacts facts;
  facts.source_ip = IpAddress::parse(source_ip).value();
  facts.destination = {IpAddress::parse(destination_ip).value(), port};
  if (const auto slash = account.find('/'); slash != account.npos) {
    facts.peer =
        model::Identity{"cluster.local", std::string(account.substr(0, slash)), std::string(account.substr(slash + 1))};
  }
  return facts;
}

// Which of four callers reach `destination` on 8080 and 9090: "all", "none", or a list such as "frontend:8080 plain:*".
inline std::string reachable(const Mesh& mesh, std::string_view destination) {
  struct Caller {
    const char *name, *account, *ip;
  };
  constexpr Caller kCallers[] = {{"frontend", "shop/frontend", "10.0.0.1"},
                                 {"orders", "shop/orders", "10.0.0.2"},
                                 {"stranger", "other/job", "10.1.0.1"},
                                 {"plain", "", "172.16.5.5"}};
  std::string out;
  int allowed = 0;
  for (const auto& caller : kCallers) {
    const bool first = mesh.verdict(destination, connection(caller.account, caller.ip, 8080)).allowed;
    const bool second = mesh.verdict(destination, connection(caller.account, caller.ip, 9090)).allowed;
    allowed += first + second;
    if (!first && !second) continue;
    out += (out.empty() ? "" : " ") + std::string(caller.name) + (first && second ? ":*" : first ? ":8080" : ":9090");
  }
  return allowed == 8 ? "all" : allowed == 0 ? "none" : out;
}

}  // namespace weft::translate::testing
