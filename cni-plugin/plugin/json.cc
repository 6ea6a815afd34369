#include "cni-plugin/plugin/json.h"

namespace weft::cni::plugin {

Result<Json> parse_json(std::string_view text) {
  bool too_deep = false;
  const auto guard = [&](int depth, Json::parse_event_t event, Json&) {
    const bool opens = event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
    if (opens && depth >= kDepthMax) too_deep = true;
    return !too_deep;
  };
  try {
    auto value = Json::parse(text, guard);
    if (too_deep) return fail(ErrorCode::kLimit, "nested deeper than " + std::to_string(kDepthMax));
    return value;
  } catch (const Json::exception& problem) {
    return fail(ErrorCode::kInvalidArgument, problem.what());
  }
}

std::string print_json(const Json& value) { return value.dump(4, ' ', false, Json::error_handler_t::replace) + "\n"; }

}  // namespace weft::cni::plugin
