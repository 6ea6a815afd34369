#include "tools/weftctl/status.h"

#include <algorithm>
#include <map>

#include "tools/weftctl/json.h"

namespace weft::ctl {
namespace {

using Json = nlohmann::ordered_json;

// A renewal is tried from half of its life on: with a tenth left it has failed for long.
constexpr std::int64_t kWorryingPart = 10;

Result<Json> parse_page(const Result<std::string>& body, const std::string& where) {
  if (!body) return fail(body.error().code(), body.error().message());
  auto page = Json::parse(*body, nullptr, /*allow_exceptions=*/false);
  if (!page.is_object()) return fail(ErrorCode::kProtocol, "GET /status at " + where + " gave no JSON object");
  return page;
}

void take_manifests(const Json& page, std::vector<std::string>& problems) {
  const auto& manifests = member(page, "manifests");
  const auto& listed = member(manifests, "problems");
  for (const auto& found : listed) {
    const auto line = number_of(found, "line").value_or(0);
    problems.push_back(text_of(found, "file") + (line > 0 ? ":" + std::to_string(line) : "") + ": " +
                       text_of(found, "reason") + ": " + text_of(found, "message") +
                       (flag_of(found, "lastGoodInForce") ? "; its last good state is in force" : ""));
  }
  const auto count = number_of(manifests, "problemCount").value_or(0) - static_cast<std::int64_t>(listed.size());
  if (count > 0) problems.push_back("and " + std::to_string(count) + " more problems of manifests");
  if (const auto rules = number_of(manifests, "rulesWithoutEffect").value_or(0); rules > 0)
    problems.push_back(std::to_string(rules) + " DENY rules can never fire at layer 4; weftctl analyze names them");
}

void take_certificates(const Json& page, NodeStatus& out) {
  for (const auto& held : member(page, "certificates")) {
    CertificateRow row{text_of(held, "identity"), text_of(held, "state"), number_of(held, "remainingSeconds")};
    const auto life = number_of(held, "lifeSeconds").value_or(0);
    if (!row.remaining_s) {
      row.worrying = row.state != "Initializing";
      if (row.worrying) out.problems.push_back("no certificate for " + row.identity + ": " + row.state);
    } else if (*row.remaining_s <= 0) {
      row.worrying = true;
      out.problems.push_back("the certificate of " + row.identity + " has expired");
    } else if (*row.remaining_s < life / kWorryingPart) {
      row.worrying = true;
      out.problems.push_back("the certificate of " + row.identity + " is not being renewed");
    }
    out.certificates.push_back(std::move(row));
  }
}

PodRow row_of(const Json& pod) {
  PodRow row{text_of(pod, "uid"),        text_of(pod, "pod"),      text_of(pod, "state"), "",
             flag_of(pod, "unenforced"), text_of(pod, "markUsers")};
  const auto error = text_of(pod, "error");
  if (row.state == "outside" || row.state == "leaving") row.why = text_of(pod, "why");
  if (row.state == "pending") row.why = "next: " + text_of(pod, "next");
  if (!error.empty()) row.why += (row.why.empty() ? "" : "; ") + error;
  return row;
}

// The agent knows every pod of the node; the proxy those it was told of.
void take_pods(const NodePages& pages, NodeStatus& out) {
  std::map<std::string, std::string> at_proxy;  // state by uid
  if (pages.proxy_page) {
    for (const auto& pod : member(*pages.proxy_page, "pods")) {
      const bool up = text_of(pod, "state") == "Up";
      at_proxy[text_of(pod, "uid")] = up ? "served" : "pending";
      if (!pages.agent_page)
        out.pods.push_back({text_of(pod, "uid"), text_of(pod, "pod"), up ? "served" : "pending",
                            up ? "" : "ztunnel cannot listen in the pod; its log says why"});
    }
  }
  if (pages.agent_page) {
    for (const auto& pod : member(*pages.agent_page, "pods")) {
      auto row = row_of(pod);
      const auto served = at_proxy.find(row.uid);
      if (row.state == "enrolled" && pages.proxy_page && (served == at_proxy.end() || served->second != "served")) {
        row.state = "pending";
        row.why = "ztunnel does not serve it, though it told the agent so";
      }
      out.pods.push_back(std::move(row));
    }
  }
  std::sort(out.pods.begin(), out.pods.end(), [](const PodRow& a, const PodRow& b) { return a.name < b.name; });
  for (const auto& row : out.pods) {
    if (row.unenforced) {
      out.problems.push_back("pod " + row.name + " runs and no policy is enforced on it: " + row.why);
    } else if (row.state == "pending") {
      out.problems.push_back("pod " + row.name + " is not served: " + row.why);
    }
    if (!row.mark_users.empty()) {
      out.problems.push_back("pod " + row.name + " sends past the mesh with the proxy's packet mark: " + row.mark_users);
    }
  }
}

}  // namespace

Task<NodePages> ask_status(Loop& loop, io::Network& network, io::Resolver& resolver, NodeAddress proxy, NodeAddress agent) {
  NodePages pages{std::move(proxy), std::move(agent), {}, {}, {}};
  admin::ClientRequest request;
  request.target = "/status";
  Node ztunnel(loop, network, resolver, pages.proxy), node_agent(loop, network, resolver, pages.agent);
  auto body = co_await ztunnel.ask(request);
  auto page = parse_page(body, pages.proxy.to_string());
  if (page) {
    pages.proxy_page = std::move(*page);
  } else {
    pages.unanswered.push_back("ztunnel: " + page.error().message());
  }
  body = co_await node_agent.ask(request);
  page = parse_page(body, pages.agent.to_string());
  if (page) {
    pages.agent_page = std::move(*page);
  } else {
    pages.unanswered.push_back("weft-agent: " + page.error().message());
  }
  co_return pages;
}

NodeStatus judge_status(NodePages pages) {
  NodeStatus out;
  if (pages.proxy_page) {
    const auto& page = *pages.proxy_page;
    if (!flag_of(page, "ready")) {
      std::string tasks;
      for (const auto& task : member(page, "waitingFor"))
        if (task.is_string()) tasks += (tasks.empty() ? "" : ", ") + task.get<std::string>();
      out.problems.push_back("ztunnel is not ready, it waits for: " + tasks);
    }
    take_manifests(page, out.problems);
    take_certificates(page, out);
  }
  if (pages.agent_page) {
    if (!flag_of(*pages.agent_page, "ztunnelConnected")) out.problems.push_back("no ztunnel is connected to the agent");
    const auto unreadable = number_of(member(*pages.agent_page, "manifests"), "unreadable").value_or(0);
    if (unreadable > 0) out.problems.push_back("the agent cannot read " + std::to_string(unreadable) + " manifest files");
  }
  take_pods(pages, out);
  out.pages = std::move(pages);
  return out;
}

int exit_status_of(const std::vector<NodeStatus>& nodes) {
  int status = 0;
  for (const auto& node : nodes) {
    if (!node.pages.unanswered.empty()) return 2;
    if (!node.problems.empty()) status = 1;
  }
  return status;
}

}  // namespace weft::ctl
