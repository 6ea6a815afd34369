#include "cni-plugin/agent/status_page.h"

#include <nlohmann/json.hpp>

namespace weft::cni::agent {
namespace {

using Json = nlohmann::ordered_json;

Json describe(const PodRecord& pod, zds::LinkId newest) {
  return {{"uid", pod.info.uid},
          {"pod", pod.info.full_name()},
          {"state", pod.wish != Wish::kIn       ? "leaving"
                    : pod.enrolled_with(newest) ? "enrolled"
                                                : "pending"},
          {"why", pod.info.reason},
          {"running", pod.info.running},
          {"unenforced", pod.unenforced()},
          {"namespace", pod.netns ? pod.netns->path : ""},
          {"rules", pod.rules == Rules::kPresent    ? "present"
                    : pod.rules == Rules::kUnknown  ? "unknown"
                    : pod.rules == Rules::kPrepared ? "prepared"
                                                    : "absent"},
          {"served", pod.served_by(newest)},
          {"markUsers", to_string(pod.mark_users)},
          {"next", to_string(next_step(pod, newest))},
          {"error", pod.error}};
}

Json describe(const PodInfo& pod) {
  return {{"uid", pod.uid}, {"pod", pod.full_name()}, {"state", "outside"}, {"why", pod.reason}, {"running", pod.running}};
}

}  // namespace

std::string status_page(const StatusContents& contents) {
  std::map<std::string, Json> rows;
  for (const auto& pod : contents.pods.pods)
    if (!pod.finished) rows[pod.uid] = describe(pod);
  std::size_t unenforced = 0;
  for (const auto& [uid, pod] : contents.records) {
    rows[uid] = describe(*pod, contents.newest_proxy);
    unenforced += pod->unenforced() ? 1 : 0;
  }
  Json pods = Json::array();
  for (auto& [uid, row] : rows) pods.push_back(std::move(row));
  const Json page = {
      {"node", contents.node},
      {"ztunnelConnected", contents.newest_proxy != 0},
      {"unenforcedPods", unenforced},
      {"manifests",
       {{"folder", contents.folder}, {"files", contents.counters.files}, {"unreadable", contents.counters.unreadable}}},
      {"pods", std::move(pods)}};
  return page.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace weft::cni::agent
