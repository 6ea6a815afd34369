#include "lib/explain/request.h"

namespace weft::explain {
namespace {

using Json = nlohmann::ordered_json;

// A part of the request that is an object, or nothing. Null counts as absent everywhere.
Result<Json> part(const Json& of, const char* name) {
  auto found = of.find(name);
  if (found == of.end() || found->is_null()) return Json::object();
  if (!found->is_object()) return fail(ErrorCode::kInvalidArgument, std::string(name) + " is no object");
  return *found;
}

Result<std::string> text(const Json& of, const char* name, const char* where) {
  auto found = of.find(name);
  if (found == of.end() || found->is_null()) return std::string();
  if (!found->is_string()) return fail(ErrorCode::kInvalidArgument, std::string(where) + "." + name + " is no text");
  return found->get<std::string>();
}

// "ns/name", or empty.
Result<std::string> object_name(const Json& of, const char* name, const char* where) {
  WEFT_TRY(auto value, text(of, name, where));
  const auto slash = value.find('/');
  const bool named =
      slash != value.npos && slash > 0 && slash + 1 < value.size() && value.find('/', slash + 1) == value.npos;
  if (!value.empty() && !named)
    return fail(ErrorCode::kInvalidArgument, std::string(where) + "." + name + " is not written namespace/name");
  return value;
}

Result<std::optional<IpAddress>> address(const Json& of, const char* where) {
  WEFT_TRY(auto value, text(of, "ip", where));
  if (value.empty()) return std::nullopt;
  auto ip = IpAddress::parse(value);
  if (!ip) return fail(ErrorCode::kInvalidArgument, std::string(where) + ".ip is no address");
  return *ip;
}

Result<Request::Source> parse_source(const Json& of) {
  Request::Source out;
  WEFT_TRY(out.pod, object_name(of, "pod", "source"));
  WEFT_TRY(out.ip, address(of, "source"));
  WEFT_TRY(auto principal, text(of, "principal", "source"));
  if (principal.empty()) return out;
  auto identity = model::Identity::parse(principal.starts_with("spiffe://") ? principal : "spiffe://" + principal);
  if (!identity)
    return fail(ErrorCode::kInvalidArgument, "source.principal is not written trust-domain/ns/namespace/sa/account");
  out.identity = std::move(*identity);
  return out;
}

Result<Request::Destination> parse_destination(const Json& of) {
  Request::Destination out;
  WEFT_TRY(out.pod, object_name(of, "pod", "destination"));
  WEFT_TRY(out.service, object_name(of, "service", "destination"));
  WEFT_TRY(out.ip, address(of, "destination"));
  if (out.pod.empty() && out.service.empty() && !out.ip)
    return fail(ErrorCode::kInvalidArgument, "a destination is missing: pod, service or ip");
  if (!out.pod.empty() && !out.service.empty())
    return fail(ErrorCode::kInvalidArgument, "destination.pod and destination.service exclude each other");
  auto port = of.find("port");
  if (port == of.end() || port->is_null()) return out;
  if (!port->is_number_integer() || *port < 1 || *port > 65535)
    return fail(ErrorCode::kInvalidArgument, "destination.port is no number from 1 to 65535");
  out.port = port->get<std::uint16_t>();
  return out;
}

}  // namespace

Result<Request> parse_request(std::string_view line, Json& id) {
  id = nullptr;
  const auto json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return fail(ErrorCode::kInvalidArgument, "not valid JSON");
  if (!json.is_object()) return fail(ErrorCode::kInvalidArgument, "not a JSON object");
  if (auto found = json.find("id"); found != json.end()) {
    if (found->is_structured()) return fail(ErrorCode::kInvalidArgument, "id is neither text nor number");
    id = *found;
  }
  Request request;
  request.id = id;
  WEFT_TRY(auto source, part(json, "source"));
  WEFT_TRY(auto destination, part(json, "destination"));
  WEFT_TRY(request.source, parse_source(source));
  WEFT_TRY(request.destination, parse_destination(destination));
  return request;
}

}  // namespace weft::explain
