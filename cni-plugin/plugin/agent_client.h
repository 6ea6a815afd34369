// Speaks to the node agent on this machine: HTTP/1.1 over a Unix socket, one request a connection, blocking with a deadline.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "cni-plugin/plugin/cni_result.h"
#include "lib/base/result.h"

namespace weft::cni::plugin {

// The agent installs rules and waits for its proxy within this; istio-cni's limits.
inline constexpr std::chrono::milliseconds kAddLimit{5000};
inline constexpr std::chrono::milliseconds kLogLimit{1000};
// How long the removal of a pod may wait for its proxy.
inline constexpr std::chrono::milliseconds kDelLimit{1000};
// How much of an error's text is read.
inline constexpr std::size_t kReplyBodyMax = 1024 * 1024;
inline constexpr std::size_t kReplyHeadMax = 64 * 1024;

struct Reply {
  int status = 0;
  std::string reason;
  std::string body;  // cut at kReplyBodyMax
};

// Sends `body` as application/json. Fails when the socket is absent, nobody listens, the answer is no HTTP or does not come
// in time; any status is an answer.
Result<Reply> post(const std::string& socket_path, std::string_view path, std::string_view body,
                   std::chrono::milliseconds limit);

// The reply in the bytes received so far; none while it is incomplete. `at_end`: no more will come. Pure.
Result<std::optional<Reply>> parse_reply(std::string_view received, bool at_end);

struct PodEvent {
  std::string netns, pod_name, pod_namespace;  // the namespace's path as this machine sees it
  std::string pod_uid;                         // sent as PodUID, beyond istio-cni's fields, when the runtime said it
  bool has_addresses = false;
  std::vector<ResultAddress> addresses;
};
// The body of an add event: field names and forms are those of istio-cni, a Go program. Pure.
std::string to_json(const PodEvent& event);

// Tells the agent of a new pod and waits until it is redirected and served. The error says who refused and why.
Result<void> add_pod(const std::string& run_dir, const PodEvent& event);
// Tells the agent that a pod's network goes, and waits until its proxies know.
Result<void> delete_pod(const std::string& run_dir, const PodEvent& event);

}  // namespace weft::cni::plugin
