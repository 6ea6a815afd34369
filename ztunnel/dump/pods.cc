#include "ztunnel/dump/pods.h"

namespace weft::ztunnel::dump {
namespace {

Json describe(const std::vector<ConnectionRow>& rows) {
  Json list = Json::array();
  for (const auto& row : rows) {
    list.push_back({{"src", row.source},
                    {"originalDst", text_or_null(row.original_destination)},
                    {"actualDst", row.actual_destination},
                    {"protocol", row.protocol == ConnectionProtocol::kHbone ? "HBONE" : "TCP"}});
  }
  return list;
}

}  // namespace

Json describe(const std::vector<PodState>& pods) {
  Json states = Json::object();
  for (const auto& pod : pods) {
    Json state = {{"state", pod.up ? "Up" : "Pending"}};
    if (pod.up) state["connections"] = {{"inbound", describe(pod.inbound)}, {"outbound", describe(pod.outbound)}};
    state["info"] = {
        {"name", pod.pod.name}, {"namespace", pod.pod.namespace_name}, {"serviceAccount", pod.pod.service_account}};
    append(states, pod.pod.uid, std::move(state));
  }
  return states;
}

}  // namespace weft::ztunnel::dump
