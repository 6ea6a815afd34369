// The JSON of the dump: members stay in the order they were added, texts that are no UTF-8 are repaired when written.
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>

#include "lib/base/time_point.h"

namespace weft::ztunnel::dump {

using Json = nlohmann::ordered_json;

// Indented by two, as upstream writes it.
inline std::string to_text(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace); }

// Adds a member whose key is known to be new: no search through the others.
inline void append(Json& object, std::string key, Json value) {
  object.get_ref<Json::object_t&>().emplace_back(std::move(key), std::move(value));
}

inline Json text_or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

// {"secs": …, "nanos": …}
inline Json describe(Duration duration) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(duration);
  return {{"secs", seconds.count()}, {"nanos", (duration - seconds).count()}};
}

}  // namespace weft::ztunnel::dump
