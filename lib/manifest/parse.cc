#include "lib/manifest/parse.h"

#include <memory>

#include "lib/manifest/detail/decode.h"
#include "lib/manifest/documents.h"
#include "lib/manifest/schema.h"

namespace weft::manifest {
namespace {

struct GroupVersion {
  std::string group, version;
};

GroupVersion split_api_version(const std::string& text) {
  const auto slash = text.find('/');
  if (slash == text.npos) return {"", text};
  return {text.substr(0, slash), text.substr(slash + 1)};
}

Object::Body decode_body(const Object& object, const Reader& reader, const Value& document,
                         const std::vector<Problem>& unknown) {
  const auto& group = object.group;
  const auto& kind = object.kind;
  if (group.empty()) {
    if (kind == "Namespace") return Namespace{};
    if (kind == "Node") return Node{};
    if (kind == "ServiceAccount") return ServiceAccount{};
    if (kind == "Pod") return detail::decode_pod(reader);
    if (kind == "Service") return detail::decode_service(reader);
    if (kind == "ConfigMap") return detail::decode_config_map(reader);
  } else if (group == "apps") {
    if (kind == "Deployment" || kind == "ReplicaSet" || kind == "StatefulSet" || kind == "DaemonSet")
      return detail::decode_pod_template(reader);
  } else if (group == "batch") {
    if (kind == "Job") return detail::decode_pod_template(reader);
    if (kind == "CronJob") return detail::decode_cron_job(reader);
  } else if (group == "discovery.k8s.io") {
    if (kind == "EndpointSlice") return detail::decode_endpoint_slice(reader);
  } else if (group == "networking.istio.io") {
    if (kind == "WorkloadEntry") return detail::decode_workload_entry(reader);
    if (kind == "WorkloadGroup") return detail::decode_workload_group(reader);
    if (kind == "ServiceEntry") return detail::decode_service_entry(reader);
  } else if (group == "security.istio.io") {
    if (kind == "PeerAuthentication") return detail::decode_peer_authentication(reader, unknown);
    if (kind == "AuthorizationPolicy") return detail::decode_authorization_policy(reader, unknown);
  } else if (group == "gateway.networking.k8s.io") {
    if (kind == "Gateway") return detail::decode_gateway(reader);
    if (kind == "GatewayClass") return detail::decode_gateway_class(reader);
  }
  return Untyped{std::make_shared<const Value>(document)};
}

class FileReader {
 public:
  FileReader(std::string_view name, const ParseOptions& options, ParseResult& out)
      : name_(name), options_(options), out_(out) {}

  void document(const Value& value) {
    if (!value.is_map()) {
      not_an_object(value, value.is_scalar() ? "a plain text, not a map; skipped" : "a list, not a map; skipped");
      return;
    }
    Problems problems;
    Reader reader(&value, "", &problems);
    const auto api_version = reader.text("apiVersion");
    const auto kind = reader.text("kind");
    if (api_version.empty() || kind.empty()) {
      not_an_object(value, api_version.empty() ? "no apiVersion; skipped" : "no kind; skipped");
      return;
    }
    if (const Value* items = value.find("items"); items && items->is_list() && kind.ends_with("List")) {
      for (const auto& item : items->items) document(item);
      return;
    }
    object(value, reader, problems, api_version, kind);
  }

 private:
  void not_an_object(const Value& value, std::string why) {
    if (out_.problems.size() < 1000) out_.problems.push_back({Level::kError, "NotAnObject", "", std::move(why), value.line});
  }

  void object(const Value& value, const Reader& reader, Problems& problems, const std::string& api_version,
              const std::string& kind) {
    auto object = std::make_shared<Object>();
    auto [group, version] = split_api_version(api_version);
    object->group = std::move(group);
    object->version = std::move(version);
    object->kind = kind;
    object->file = name_;
    object->line = value.line;
    object->meta = detail::decode_meta(reader.map("metadata"));
    if (object->meta.name.empty()) {
      not_an_object(value, "a " + kind.substr(0, 100) + " without metadata.name; skipped");
      return;
    }
    const auto info = find_kind(object->group, object->kind);
    if (info.scope == Scope::kCluster) {
      object->meta.namespace_.clear();
    } else if (object->meta.namespace_.empty()) {
      object->meta.namespace_ = options_.default_namespace;
    }
    report_unknown_fields(object->group, object->kind, value, problems);
    const auto unknown = problems.items();
    object->body = decode_body(*object, reader, value, unknown);
    object->problems = problems.items();
    out_.objects.push_back(std::move(object));
  }

  const std::string name_;
  const ParseOptions& options_;
  ParseResult& out_;
};

}  // namespace

ParseResult parse(std::string_view text, std::string_view file_name, const ParseOptions& options) {
  ParseResult out;
  auto documents = file_name.ends_with(".json") ? read_json(text, options.limits) : read_yaml(text, options.limits);
  FileReader reader(file_name, options, out);
  for (const auto& value : documents.values) reader.document(value);
  if (documents.error) {
    out.readable = false;
    out.problems.push_back(std::move(*documents.error));
  }
  return out;
}

}  // namespace weft::manifest
