#include "cni-plugin/plugin/cni_result.h"

#include <algorithm>
#include <limits>

#include "cni-plugin/plugin/command.h"
#include "cni-plugin/plugin/json.h"

namespace weft::cni::plugin {
namespace {

// A pod has two or three addresses; the event to the agent must stay small.
constexpr std::size_t kAddressesMax = 256;

enum class Shape { kFamilies, kTaggedList, kList, kWideList };

std::optional<Shape> shape_of(std::string_view version) {
  if (version == "0.1.0" || version == "0.2.0") return Shape::kFamilies;
  if (version == "0.3.0" || version == "0.3.1" || version == "0.4.0") return Shape::kTaggedList;
  if (version == "1.0.0") return Shape::kList;
  if (version == "1.1.0") return Shape::kWideList;
  return std::nullopt;
}

Result<std::string> text_of(const Json& object, const char* key) {
  const auto field = object.find(key);
  if (field == object.end() || field->is_null()) return std::string();
  if (!field->is_string()) return fail(ErrorCode::kInvalidArgument, std::string(key) + " is not text");
  return field->get<std::string>();
}

Result<ResultAddress> read_address(const Json& entry, const char* key) {
  if (!entry.is_object()) return fail(ErrorCode::kInvalidArgument, "an address is not an object");
  ResultAddress out;
  WEFT_TRY(const std::string address, text_of(entry, key));
  if (address.find('/') == address.npos) {
    return fail(ErrorCode::kInvalidArgument, "invalid CIDR address: \"" + address.substr(0, 100) + "\"");
  }
  WEFT_TRY(out.address, Cidr::parse(address));
  WEFT_TRY(const std::string gateway, text_of(entry, "gateway"));
  if (!gateway.empty()) {
    WEFT_TRY(out.gateway, IpAddress::parse(gateway));
  }
  if (const auto interface = entry.find("interface"); interface != entry.end() && !interface->is_null()) {
    if (!interface->is_number_integer() || *interface < -1 || *interface > std::numeric_limits<int>::max()) {
      return fail(ErrorCode::kInvalidArgument, "interface is not an index");
    }
    out.interface = interface->get<int>();
  }
  return out;
}

Result<std::vector<ResultAddress>> read_addresses(const Json& previous, Shape shape) {
  std::vector<ResultAddress> out;
  if (shape == Shape::kFamilies) {
    for (const char* family : {"ip4", "ip6"}) {
      const auto entry = previous.find(family);
      if (entry == previous.end() || entry->is_null()) continue;
      WEFT_TRY(auto address, read_address(*entry, "ip"));
      out.push_back(std::move(address));
    }
    return out;
  }
  const auto list = previous.find("ips");
  if (list == previous.end() || list->is_null()) return out;
  if (!list->is_array()) return fail(ErrorCode::kInvalidArgument, "ips is not a list");
  if (list->size() > kAddressesMax) return fail(ErrorCode::kLimit, "more than 256 addresses");
  for (const auto& entry : *list) {
    WEFT_TRY(auto address, read_address(entry, "address"));
    out.push_back(std::move(address));
  }
  return out;
}

Result<void> check_lists(const Json& previous) {
  for (const char* key : {"interfaces", "routes"}) {
    const auto list = previous.find(key);
    if (list == previous.end() || list->is_null()) continue;
    const bool fine =
        list->is_array() && std::all_of(list->begin(), list->end(), [](const Json& e) { return e.is_object(); });
    if (!fine) return fail(ErrorCode::kInvalidArgument, std::string(key) + " is not a list of objects");
  }
  return {};
}

bool is_v4_route(const Json& route) {
  const auto destination = text_of(route, "dst");
  return !destination || destination->find(':') == std::string::npos;
}

Json list_from_families(const Json& previous) {
  Json out = {{"ips", Json::array()}};
  for (const char* family : {"ip4", "ip6"}) {
    const auto entry = previous.find(family);
    if (entry == previous.end() || entry->is_null()) continue;
    Json address = {{"version", family == std::string_view("ip4") ? "4" : "6"}, {"address", (*entry)["ip"]}};
    if (entry->contains("gateway")) address["gateway"] = (*entry)["gateway"];
    out["ips"].push_back(std::move(address));
    if (!entry->contains("routes") || !(*entry)["routes"].is_array()) continue;
    for (const auto& route : (*entry)["routes"]) out["routes"].push_back(route);
  }
  return out;
}

Json families_from_list(const Json& previous) {
  Json out = Json::object();
  const auto list = previous.find("ips");
  if (list == previous.end() || list->is_null()) return out;
  for (const auto& entry : *list) {
    const bool v4 = entry["address"].get<std::string>().find(':') == std::string::npos;
    const char* family = v4 ? "ip4" : "ip6";
    if (out.contains(family)) continue;  // these versions have room for one
    Json address = {{"ip", entry["address"]}};
    if (entry.contains("gateway")) address["gateway"] = entry["gateway"];
    if (const auto routes = previous.find("routes"); routes != previous.end() && routes->is_array()) {
      for (const auto& route : *routes) {
        if (is_v4_route(route) == v4) address["routes"].push_back(route);
      }
    }
    out[family] = std::move(address);
  }
  return out;
}

void erase_from_each(Json& object, const char* list, std::initializer_list<const char*> keys) {
  const auto found = object.find(list);
  if (found == object.end() || !found->is_array()) return;
  for (auto& entry : *found) {
    for (const char* key : keys) entry.erase(key);
  }
}

Json convert(const Json& previous, Shape from, Shape to) {
  Json out = previous;
  if (from == Shape::kFamilies && to != Shape::kFamilies) out = list_from_families(previous);
  if (from != Shape::kFamilies && to == Shape::kFamilies) out = families_from_list(previous);
  if (previous.contains("dns")) out["dns"] = previous["dns"];
  if (to == Shape::kList || to == Shape::kWideList) erase_from_each(out, "ips", {"version"});
  if (to == Shape::kTaggedList && out.contains("ips") && out["ips"].is_array()) {
    for (auto& entry : out["ips"]) {
      entry["version"] = entry["address"].get<std::string>().find(':') == std::string::npos ? "4" : "6";
    }
  }
  if (from == Shape::kWideList) {
    erase_from_each(out, "interfaces", {"mtu", "socketPath", "pciID"});
    erase_from_each(out, "routes", {"mtu", "advmss", "priority", "table", "scope"});
    for (const char* family : {"ip4", "ip6"}) {
      if (out.contains(family)) erase_from_each(out[family], "routes", {"mtu", "advmss", "priority", "table", "scope"});
    }
  }
  return out;
}

}  // namespace

Result<CniResult> read_previous_result(std::string_view config, std::string_view version) {
  WEFT_TRY(const Json document, parse_json(config));
  CniResult out;
  const auto previous = document.is_object() ? document.find("prevResult") : document.end();
  if (previous == document.end() || previous->is_null()) {
    out.text = print_json({{"cniVersion", version}, {"dns", Json::object()}});
    return out;
  }
  if (!previous->is_object()) return fail(ErrorCode::kInvalidArgument, "could not parse prevResult: it is not an object");
  auto own_version = text_of(*previous, "cniVersion");
  if (!own_version) return fail(std::move(own_version).error().within("could not parse prevResult"));
  if (own_version->empty()) *own_version = version;
  const auto from = shape_of(*own_version), to = shape_of(version);
  if (!from || !to) {
    return fail(ErrorCode::kInvalidArgument,
                "could not parse prevResult: unsupported CNI result version \"" + own_version->substr(0, 100) + "\"");
  }
  auto addresses = read_addresses(*previous, *from);
  if (!addresses) return fail(std::move(addresses).error().within("could not parse prevResult"));
  if (auto checked = check_lists(*previous); !checked) {
    return fail(std::move(checked).error().within("could not parse prevResult"));
  }
  out.has_previous = true;
  out.addresses = std::move(*addresses);
  Json converted = *from == *to ? *previous : convert(*previous, *from, *to);
  converted["cniVersion"] = version;
  out.text = print_json(converted);
  return out;
}

}  // namespace weft::cni::plugin
