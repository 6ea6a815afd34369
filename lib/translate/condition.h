// What is said about an object: the shape of Kubernetes status conditions, with a level for tools.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "lib/manifest/object.h"

namespace weft::translate {

using manifest::Level;

// Condition types.
inline constexpr const char* kAccepted = "Accepted";                // read, and in force as far as the others say
inline constexpr const char* kFullyApplied = "FullyApplied";        // False: a field is ignored or interpreted
inline constexpr const char* kZtunnelAccepted = "ZtunnelAccepted";  // policies: what the node proxies enforce
inline constexpr const char* kWaypointBound = "istio.io/WaypointBound";

struct Condition {
  std::string type;
  std::string status;   // "True" or "False"
  std::string reason;   // a word for programs: FieldIgnored, UnsupportedAtL4, ...
  std::string message;  // a sentence for people, fields by path
  Level level = Level::kInfo;
  int line = 0;  // of the field in the object's file, 0 for the object as a whole

  friend bool operator==(const Condition&, const Condition&) = default;
};

struct ObjectStatus {
  manifest::ObjectPtr object;
  std::vector<Condition> conditions;  // Accepted first; then one per finding

  // A finding about a field or the whole: FullyApplied=False with the reason, or True for remarks (level info, reason Info).
  void find(Level level, std::string reason, std::string message, int line = 0) {
    const bool remark = reason == "Info";
    conditions.push_back({kFullyApplied, remark ? "True" : "False", std::move(reason), std::move(message), level, line});
  }
};

}  // namespace weft::translate
