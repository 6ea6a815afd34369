#include "cni-plugin/plugin/command.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>
#include <vector>

#include "cni-plugin/plugin/json.h"

namespace weft::cni::plugin {
namespace {

constexpr std::pair<std::string_view, Command> kCommands[] = {
    {"ADD", Command::kAdd}, {"DEL", Command::kDel},       {"CHECK", Command::kCheck},
    {"GC", Command::kGc},   {"STATUS", Command::kStatus}, {"VERSION", Command::kVersion},
};

constexpr std::size_t kInterfaceNameMax = 15;  // IFNAMSIZ without the zero

bool concerns_container(Command command) {
  return command == Command::kAdd || command == Command::kDel || command == Command::kCheck;
}

// [a-zA-Z0-9][a-zA-Z0-9_.-]*, as the specification names networks and containers.
bool is_name(std::string_view text) {
  const auto plain = [](unsigned char c) { return std::isalnum(c) != 0; };
  return !text.empty() && plain(static_cast<unsigned char>(text[0])) &&
         std::all_of(text.begin(), text.end(),
                     [&](unsigned char c) { return plain(c) || c == '_' || c == '.' || c == '-'; });
}

std::size_t rank(std::string_view version) {
  return static_cast<std::size_t>(std::find(std::begin(kVersions), std::end(kVersions), version) - std::begin(kVersions));
}

std::expected<void, CniError> check_container(const Environment& environment) {
  if (!is_name(environment.container_id)) {
    return refuse(CniError::kInvalidEnvironment, "invalid characters in containerID", environment.container_id);
  }
  const auto& name = environment.interface;
  if (name.size() > kInterfaceNameMax) {
    return refuse(CniError::kInvalidEnvironment, "interface name is too long",
                  "interface name should be less than " + std::to_string(kInterfaceNameMax + 1) + " characters");
  }
  if (name == "." || name == "..") return refuse(CniError::kInvalidEnvironment, "interface name is . or ..");
  if (std::any_of(name.begin(), name.end(), [](unsigned char c) { return c == '/' || c == ':' || std::isspace(c); })) {
    return refuse(CniError::kInvalidEnvironment, "interface name contains / or : or whitespace characters");
  }
  return {};
}

// The oldest configuration version in which a command exists.
std::string_view since(Command command) {
  switch (command) {
    case Command::kCheck: return "0.4.0";
    case Command::kGc:
    case Command::kStatus: return "1.1.0";
    default: return "0.1.0";
  }
}

std::string_view to_string(Command command) {
  for (const auto& [name, value] : kCommands) {
    if (value == command) return name;
  }
  return "";
}

}  // namespace

std::string to_json(const CniError& error) {
  Json out = {{"code", error.code}, {"msg", error.message}};
  if (!error.details.empty()) out["details"] = error.details;
  return print_json(out);
}

Environment read_environment(const std::function<const char*(const char*)>& get) {
  const auto value = [&](const char* name) {
    const char* text = get(name);
    return std::string(text ? text : "");
  };
  return {.command = value("CNI_COMMAND"),
          .container_id = value("CNI_CONTAINERID"),
          .netns = value("CNI_NETNS"),
          .netns_override = value("CNI_NETNS_OVERRIDE"),
          .interface = value("CNI_IFNAME"),
          .args = value("CNI_ARGS"),
          .path = value("CNI_PATH")};
}

std::expected<Command, CniError> read_command(const Environment& environment) {
  if (environment.command.empty()) {
    return refuse(CniError::kInvalidEnvironment, "required env variables [CNI_COMMAND] missing");
  }
  const auto known = std::find_if(std::begin(kCommands), std::end(kCommands),
                                  [&](const auto& entry) { return entry.first == environment.command; });
  if (known == std::end(kCommands)) {
    return refuse(CniError::kInvalidEnvironment, "unknown CNI_COMMAND: " + environment.command);
  }
  const auto command = known->second;
  if (command == Command::kVersion) return command;

  std::string missing;
  const auto need = [&](bool needed, const std::string& value, const char* name) {
    if (needed && value.empty()) missing += (missing.empty() ? "" : ",") + std::string(name);
  };
  need(concerns_container(command), environment.container_id, "CNI_CONTAINERID");
  need(command == Command::kAdd || command == Command::kCheck, environment.netns, "CNI_NETNS");
  need(concerns_container(command), environment.interface, "CNI_IFNAME");
  need(true, environment.path, "CNI_PATH");
  if (!missing.empty()) {
    return refuse(CniError::kInvalidEnvironment, "required env variables [" + missing + "] missing");
  }
  return command;
}

std::expected<Call, CniError> read_call(Command command, const Environment& environment, std::string_view config) {
  const auto json = parse_json(config);
  if (!json) return refuse(CniError::kNotJson, "error unmarshall network config: " + json.error().message());
  if (!json->is_object()) return refuse(CniError::kNotJson, "error unmarshall network config: it is not an object");
  const auto name = json->find("name"), version = json->find("cniVersion");
  const auto text_or_absent = [&](Json::const_iterator field) { return field == json->end() || field->is_string(); };
  if (!text_or_absent(name) || !text_or_absent(version)) {
    return refuse(CniError::kNotJson, "error unmarshall network config: name and cniVersion must be text");
  }
  Call call{.command = command, .version = {}, .network = name == json->end() ? "" : name->get<std::string>()};
  if (call.network.empty()) return refuse(CniError::kInvalidNetwork, "missing network name");
  if (!is_name(call.network)) {
    return refuse(CniError::kInvalidNetwork, "invalid characters found in network name", call.network);
  }
  if (concerns_container(command)) {
    if (auto checked = check_container(environment); !checked) return std::unexpected(checked.error());
  }
  call.version = version == json->end() ? "" : version->get<std::string>();
  if (call.version.empty()) call.version = "0.1.0";  // before the field existed
  if (rank(call.version) == std::size(kVersions)) {
    std::string known;
    for (const auto v : kVersions) known += (known.empty() ? "\"" : " \"") + std::string(v) + "\"";
    return refuse(CniError::kIncompatibleVersion, "incompatible CNI versions",
                  "config is \"" + call.version + "\", plugin supports [" + known + "]");
  }
  if (rank(call.version) < rank(since(command))) {
    return refuse(CniError::kIncompatibleVersion, "config version does not allow " + std::string(to_string(command)));
  }
  return call;
}

std::string versions_json() {
  Json versions = Json::array();
  for (const auto version : kVersions) versions.push_back(version);
  return print_json({{"cniVersion", std::end(kVersions)[-1]}, {"supportedVersions", versions}});
}

std::expected<Arguments, CniError> read_arguments(std::string_view text) {
  Arguments out;
  std::vector<std::string> unknown;
  bool ignore_unknown = false;
  const std::array<std::pair<std::string_view, std::string*>, 4> known{{{"K8S_POD_NAME", &out.pod_name},
                                                                        {"K8S_POD_NAMESPACE", &out.pod_namespace},
                                                                        {"K8S_POD_INFRA_CONTAINER_ID", &out.container_id},
                                                                        {"K8S_POD_UID", &out.pod_uid}}};
  while (!text.empty()) {
    const auto pair = text.substr(0, text.find(';'));
    text.remove_prefix(std::min(pair.size() + 1, text.size()));
    const auto equals = pair.find('=');
    if (equals == pair.npos || pair.find('=', equals + 1) != pair.npos) {
      return refuse(CniError::kInternal, "ARGS: invalid pair \"" + std::string(pair) + "\"");
    }
    const auto key = pair.substr(0, equals), value = pair.substr(equals + 1);
    if (key == "IgnoreUnknown") {
      std::string lower(value);
      std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
      if (lower != "1" && lower != "true" && lower != "0" && lower != "false") {
        return refuse(CniError::kInternal, "ARGS: error parsing value of pair \"" + std::string(pair) +
                                               "\": boolean unmarshal error: invalid input " + lower);
      }
      ignore_unknown = lower == "1" || lower == "true";
      continue;
    }
    const auto at = std::find_if(known.begin(), known.end(), [&](const auto& entry) { return entry.first == key; });
    if (at != known.end()) {
      *at->second = value;
    } else {
      unknown.emplace_back(pair);
    }
  }
  if (!unknown.empty() && !ignore_unknown) {
    std::string list;
    for (const auto& pair : unknown) list += (list.empty() ? "\"" : " \"") + pair + "\"";
    return refuse(CniError::kInternal, "ARGS: unknown args [" + list + "]");
  }
  return out;
}

}  // namespace weft::cni::plugin
