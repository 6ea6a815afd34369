// Values out of JSON that somebody else wrote: another type than expected counts as absent.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace weft::ctl {

// Null for an absent member.
inline const nlohmann::ordered_json& member(const nlohmann::ordered_json& of, const char* name) {
  static const nlohmann::ordered_json kNull;
  const auto found = of.is_object() ? of.find(name) : of.end();
  return of.is_object() && found != of.end() ? *found : kNull;
}
inline std::string text_of(const nlohmann::ordered_json& of, const char* name) {
  const auto& value = member(of, name);
  return value.is_string() ? value.get<std::string>() : "";
}
inline std::optional<std::int64_t> number_of(const nlohmann::ordered_json& of, const char* name) {
  const auto& value = member(of, name);
  if (!value.is_number_integer()) return std::nullopt;
  return value.get<std::int64_t>();
}
inline bool flag_of(const nlohmann::ordered_json& of, const char* name) { return member(of, name) == true; }

}  // namespace weft::ctl
