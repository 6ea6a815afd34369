#include "tools/weftctl/inventory.h"

#include <algorithm>
#include <set>

#include "lib/model/snapshot_editor.h"
#include "lib/translate/enrolment.h"
#include "lib/translate/translate.h"
#include "ztunnel/settings.h"

namespace weft::ctl {
namespace {

using manifest::ObjectPtr;

// Hands out 0.0.0.1, 0.0.0.2, ...; 16 million of them, and a file has at most 4 million values.
class Addresses {
 public:
  IpAddress next() {
    ++last_;
    return IpAddress::v4({0, static_cast<std::uint8_t>(last_ >> 16), static_cast<std::uint8_t>(last_ >> 8),
                          static_cast<std::uint8_t>(last_)});
  }

 private:
  std::uint32_t last_ = 0;
};

ObjectPtr placed(const manifest::Object& object, Addresses& addresses) {
  auto copy = std::make_shared<manifest::Object>(object);
  auto& pod = std::get<manifest::Pod>(copy->body);
  pod.ips = {addresses.next().to_string()};
  pod.ready = true;
  return copy;
}

ObjectPtr pod_of(const manifest::Object& object, const manifest::PodTemplate& made, Addresses& addresses) {
  auto pod = std::make_shared<manifest::Object>();
  pod->version = "v1";
  pod->kind = "Pod";
  pod->meta = made.meta;
  pod->meta.name = object.meta.name;
  pod->meta.namespace_ = object.meta.namespace_;
  pod->file = object.file;
  pod->line = object.line;
  pod->body = manifest::Pod{made.spec, "Running", {addresses.next().to_string()}, true};
  return pod;
}

bool is_pod_of(const ObjectPtr& object, const manifest::Object& owner, const manifest::PodTemplate& made) {
  if (!object->as<manifest::Pod>() || object->meta.namespace_ != owner.meta.namespace_) return false;
  if (object->meta.name == owner.meta.name) return true;
  const auto& labels = object->meta.labels;
  return !made.meta.labels.empty() && std::all_of(made.meta.labels.begin(), made.meta.labels.end(), [&](const auto& wanted) {
    auto found = labels.find(wanted.first);
    return found != labels.end() && found->second == wanted.second;
  });
}

ObjectPtr namespace_in_the_mesh(const std::string& name) {
  auto out = std::make_shared<manifest::Object>();
  out->version = "v1";
  out->kind = "Namespace";
  out->meta.name = name;
  out->meta.labels[translate::kDataplaneModeLabel] = "ambient";
  out->body = manifest::Namespace{};
  return out;
}

std::set<std::string> undescribed_namespaces(const std::vector<ObjectPtr>& objects) {
  std::set<std::string> out;
  for (const auto& object : objects) {
    if (object->as<manifest::Pod>()) out.insert(object->meta.namespace_);
  }
  for (const auto& object : objects) {
    if (object->as<manifest::Namespace>()) out.erase(object->meta.name);
  }
  return out;
}

}  // namespace

explain::Facts take_inventory(const std::vector<ObjectPtr>& objects, const translate::Options& options) {
  Addresses addresses;
  std::vector<ObjectPtr> all;
  for (const auto& object : objects) {
    const auto* pod = object->as<manifest::Pod>();
    all.push_back(pod && pod->ips.empty() ? placed(*object, addresses) : object);
  }
  for (const auto& object : objects) {
    const auto* made = object->as<manifest::PodTemplate>();
    if (!made || made->replicas == 0) continue;
    if (std::none_of(objects.begin(), objects.end(), [&](const ObjectPtr& o) { return is_pod_of(o, *object, *made); }))
      all.push_back(pod_of(*object, *made, addresses));
  }
  auto assumed = undescribed_namespaces(all);
  for (const auto& name : assumed) all.push_back(namespace_in_the_mesh(name));
  auto output = translate::translate(all, options);
  for (auto& service : output.services) {
    if (service.vips.empty() && service.cidr_vips.empty()) service.vips.push_back({options.network, addresses.next()});
  }
  model::SnapshotEditor editor;
  editor.replace("manifests", {std::move(output.workloads), std::move(output.services), std::move(output.policies)});
  return {.snapshot = editor.commit(),
          .origins = std::make_shared<const translate::Origins>(std::move(output.origins)),
          .assumed_namespaces = std::move(assumed),
          .cluster_id = options.cluster_id,
          .network = options.network,
          .cluster_domain = options.cluster_domain,
          .hbone_port = ztunnel::kHbonePort,
          .is_own_port = ztunnel::is_illegal_port};
}

}  // namespace weft::ctl
