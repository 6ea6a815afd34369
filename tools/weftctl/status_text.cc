#include "tools/weftctl/status_text.h"

#include <algorithm>

#include "tools/weftctl/json.h"

namespace weft::ctl {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kRed = "\033[31m";
constexpr const char* kYellow = "\033[33m";
constexpr const char* kGreen = "\033[32m";
constexpr const char* kReset = "\033[0m";

// Names and messages come over the network and end on a terminal.
std::string printable(std::string text) {
  for (auto& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return text;
}

std::string count(const Json& of, const char* name, const char* singular, const char* plural) {
  const auto number = number_of(of, name).value_or(0);
  return std::to_string(number) + " " + (number == 1 ? singular : plural);
}

// The two largest units that say something.
std::string span(std::int64_t seconds) {
  const auto two = [](std::int64_t high, const char* unit, std::int64_t low, const char* lower) {
    return std::to_string(high) + unit + " " + std::to_string(low) + lower;
  };
  if (seconds < 60) return std::to_string(seconds) + "s";
  if (seconds < 3600) return two(seconds / 60, "m", seconds % 60, "s");
  if (seconds < 86400) return two(seconds / 3600, "h", seconds % 3600 / 60, "m");
  return two(seconds / 86400, "d", seconds % 86400 / 3600, "h");
}

struct Cell {
  std::string text;
  const char* colour = nullptr;
};

class Printer {
 public:
  explicit Printer(Colour colour) : coloured_(colour == Colour::kYes) {}

  void line(const std::string& text, const char* colour = nullptr) { out_ += paint(printable(text), colour) + "\n"; }
  void field(const char* name, const std::string& text) {
    std::string line = "  " + std::string(name);
    if (!text.empty()) line.resize(16, ' ');
    out_ += line + printable(text) + "\n";
  }
  // The last column is as wide as it likes.
  void table(const std::vector<const char*>& heads, const std::vector<std::vector<Cell>>& rows) {
    std::vector<std::size_t> widths;
    for (std::size_t column = 0; column < heads.size(); ++column) {
      widths.push_back(std::string_view(heads[column]).size());
      for (const auto& row : rows) widths.back() = std::max(widths.back(), row[column].text.size());
    }
    std::vector<Cell> head;
    for (const auto* name : heads) head.push_back({name});
    this->row(head, widths);
    for (const auto& cells : rows) this->row(cells, widths);
  }
  std::string take() { return std::move(out_); }

 private:
  std::string paint(const std::string& text, const char* colour) const {
    return colour && coloured_ ? colour + text + kReset : text;
  }
  void row(const std::vector<Cell>& cells, const std::vector<std::size_t>& widths) {
    std::string line = "   ";
    for (std::size_t column = 0; column < cells.size(); ++column) {
      const auto& [text, colour] = cells[column];
      line += " " + paint(printable(text), colour);
      if (column + 1 < cells.size()) line += std::string(widths[column] - text.size() + 1, ' ');
    }
    out_ += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }

  const bool coloured_;
  std::string out_;
};

const char* colour_of(const PodRow& pod) {
  if (pod.unenforced) return kRed;
  if (pod.state == "enrolled" || pod.state == "served") return kGreen;
  return pod.state == "pending" ? kYellow : nullptr;
}

std::string remaining(const CertificateRow& row) {
  if (!row.remaining_s) return "-";
  return *row.remaining_s > 0 ? span(*row.remaining_s) : "expired " + span(-*row.remaining_s) + " ago";
}

void print_proxy(Printer& out, const Json& page) {
  const auto &workers = member(page, "workers"), &mesh = member(page, "mesh"), &manifests = member(page, "manifests");
  out.field("version", text_of(page, "version") + " (" + text_of(page, "gitRevision") + ")");
  out.field("workers", std::to_string(number_of(workers, "count").value_or(0)) + " on " + text_of(workers, "engine"));
  out.field("mesh", "revision " + std::to_string(number_of(mesh, "revision").value_or(0)) + " from " +
                        text_of(mesh, "source") + ": " + count(mesh, "workloads", "workload", "workloads") + ", " +
                        count(mesh, "services", "service", "services") + ", " +
                        count(mesh, "policies", "policy", "policies"));
  if (manifests.is_object())
    out.field("manifests", text_of(manifests, "folder") + ", " + count(manifests, "files", "file", "files") + ", " +
                               std::to_string(number_of(manifests, "unreadable").value_or(0)) + " unreadable");
}

void print_node(Printer& out, const NodeStatus& node) {
  const auto& pages = node.pages;
  const Json none;
  const auto& proxy = pages.proxy_page ? *pages.proxy_page : none;
  auto name = text_of(proxy, "node");
  if (name.empty() && pages.agent_page) name = text_of(*pages.agent_page, "node");
  const bool well = pages.unanswered.empty() && node.problems.empty();
  out.line((name.empty() ? "node" : name) + " (" + pages.proxy.to_string() + "): " +
               (!pages.unanswered.empty() ? "not fully known"
                : well                    ? "well"
                                          : "to be seen to"),
           well                        ? kGreen
           : !pages.unanswered.empty() ? kRed
                                       : kYellow);
  if (pages.proxy_page) print_proxy(out, proxy);
  if (!node.certificates.empty()) {
    out.field("certificates", "");
    std::vector<std::vector<Cell>> rows;
    for (const auto& row : node.certificates)
      rows.push_back({{row.identity}, {remaining(row), row.worrying ? kRed : nullptr}, {row.state}});
    out.table({"IDENTITY", "REMAINING", "STATE"}, rows);
  }
  if (!node.pods.empty()) {
    out.field("pods", "");
    std::vector<std::vector<Cell>> rows;
    for (const auto& pod : node.pods)
      rows.push_back({{pod.name}, {pod.unenforced ? "UNENFORCED" : pod.state, colour_of(pod)}, {pod.why}});
    out.table({"POD", "STATE", "WHY"}, rows);
  }
  for (const auto& problem : node.problems) out.line("  ! " + problem, kYellow);
  for (const auto& problem : pages.unanswered) out.line("  ! " + problem, kRed);
}

Json describe(const NodeStatus& node) {
  Json pods = Json::array();
  for (const auto& pod : node.pods) {
    pods.push_back(
        {{"pod", pod.name}, {"uid", pod.uid}, {"state", pod.state}, {"unenforced", pod.unenforced}, {"why", pod.why}});
  }
  return {{"admin", node.pages.proxy.to_string()},
          {"agentAdmin", node.pages.agent.to_string()},
          {"errors", node.pages.unanswered},
          {"problems", node.problems},
          {"pods", std::move(pods)},
          {"ztunnel", node.pages.proxy_page ? *node.pages.proxy_page : Json()},
          {"agent", node.pages.agent_page ? *node.pages.agent_page : Json()}};
}

}  // namespace

std::string status_text(const std::vector<NodeStatus>& nodes, Colour colour) {
  Printer out(colour);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (i > 0) out.line("");
    print_node(out, nodes[i]);
  }
  return out.take();
}

std::string status_json(const std::vector<NodeStatus>& nodes) {
  Json list = Json::array();
  for (const auto& node : nodes) list.push_back(describe(node));
  return Json{{"nodes", std::move(list)}}.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace weft::ctl
