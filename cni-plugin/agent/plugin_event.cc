#include "cni-plugin/agent/plugin_event.h"

#include <nlohmann/json.hpp>

namespace weft::cni::agent {
namespace {

using nlohmann::json;

// Of one line and of one body: a plugin's run writes a few dozen lines with a few labels.
constexpr std::size_t kLinesMax = 1000;
constexpr std::size_t kLabelsMax = 20;

Result<std::string> required(const json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string() || found->get_ref<const std::string&>().empty()) {
    return fail(ErrorCode::kInvalidArgument, std::string(name) + " is missing or no text");
  }
  return found->get<std::string>();
}

Result<std::vector<IpAddress>> addresses(const json& list) {
  std::vector<IpAddress> ips;
  if (list.is_null()) return ips;
  const auto wrong = [] { return fail(ErrorCode::kInvalidArgument, "IPs is no list of addresses"); };
  if (!list.is_array()) return wrong();
  for (const auto& item : list) {
    if (!item.is_object() || !item.contains("Address") || !item["Address"].is_object()) return wrong();
    WEFT_TRY(auto text, required(item["Address"], "IP"));
    WEFT_TRY(auto ip, IpAddress::parse(text));
    ips.push_back(ip);
  }
  return ips;
}

// A label's value as text: texts as they are, anything else as JSON.
std::string as_text(const json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump(-1, ' ', true, json::error_handler_t::replace);
}

}  // namespace

Result<AddEvent> parse_add_event(std::string_view body) {
  const auto document = json::parse(body, nullptr, false);
  if (!document.is_object()) return fail(ErrorCode::kInvalidArgument, "the body is no JSON object");
  AddEvent event;
  WEFT_TRY(event.netns, required(document, "Netns"));
  WEFT_TRY(event.pod_name, required(document, "PodName"));
  WEFT_TRY(event.pod_namespace, required(document, "PodNamespace"));
  if (document.contains("PodUID")) {
    WEFT_TRY(event.pod_uid, required(document, "PodUID"));
  }
  if (document.contains("IPs")) {
    WEFT_TRY(event.ips, addresses(document["IPs"]));
  }
  if (!event.netns.starts_with('/')) return fail(ErrorCode::kInvalidArgument, "Netns is no absolute path");
  return event;
}

Result<std::vector<PluginLine>> parse_log_lines(std::string_view body, std::size_t& dropped) {
  const auto document = json::parse(body, nullptr, false);
  if (!document.is_array()) return fail(ErrorCode::kInvalidArgument, "the body is no JSON list");
  std::vector<PluginLine> lines;
  for (const auto& item : document) {
    const auto line = item.is_string() ? json::parse(item.get_ref<const std::string&>(), nullptr, false) : json();
    if (!line.is_object() || lines.size() >= kLinesMax) {
      ++dropped;
      continue;
    }
    auto level = required(line, "level");
    auto message = required(line, "msg");
    auto known = level ? log::parse_level(*level) : Result<log::Level>(log::Level::kWarn);
    if (!level || !message) {
      ++dropped;
      continue;
    }
    PluginLine result{known ? *known : log::Level::kWarn, std::move(*message), {}};
    for (const auto& [key, value] : line.items()) {
      if (key == "level" || key == "msg" || key == "time" || result.labels.size() >= kLabelsMax) continue;
      result.labels.emplace_back(key, as_text(value));
    }
    lines.push_back(std::move(result));
  }
  return lines;
}

}  // namespace weft::cni::agent
