#include "tools/weftctl/command_line.h"

#include <CLI/CLI.hpp>

#include "lib/translate/enrolment.h"
#include "tools/weftctl/completion.h"
#include "tools/weftctl/status.h"

namespace weft::ctl {
namespace {

constexpr const char* kDescription = "weftctl: says what the mesh makes of your manifests, and why.\n";

constexpr const char* kExamples =
    "\nExamples:\n"
    "  weftctl analyze deploy/                         # every object of a folder, with line numbers\n"
    "  weftctl analyze -n shop -o json policy.yaml     # for programs\n"
    "  echo '{\"source\": {\"principal\": \"cluster.local/ns/shop/sa/web\"}, \"destination\": {\"service\": \"shop/db\"}}' "
    "\\\n"
    "    | weftctl explain --manifests deploy/         # would it be let in, and why\n"
    "  weftctl explain --admin 127.0.0.1 < asked.jsonl # the same of a running node\n"
    "  weftctl status                                  # how this node is\n"
    "  source <(weftctl completion bash)               # complete commands in this shell\n"
    "\nThe interface is stable: docs/weftctl.md. A wrong command line exits with 64.\n";

constexpr const char* kAnalyzeExamples =
    "\nExamples:\n"
    "  weftctl analyze deploy/\n"
    "  weftctl analyze -n shop 10-workloads.yaml 30-policies.yaml\n"
    "  weftctl analyze -o json deploy/ | jq '.[] | select(.conditions[].level == \"error\") | .name'\n"
    "\nAll paths together are taken for one cluster; of an object written twice the last counts.\n"
    "Exit status: 0 nothing to act on, 1 findings, 2 a file could not be read (the others are told all the same),\n"
    "64 for a wrong command line.\n";

constexpr const char* kExplainExamples =
    "\nOne JSON request a line on standard input, one JSON answer a line on standard output, in order.\n"
    "Request: {\"id\", \"source\": {\"pod\", \"principal\", \"ip\"}, \"destination\": {\"pod\" or \"service\", \"ip\", "
    "\"port\"}}; pods and\n"
    "services are written namespace/name, and only a destination is needed. Without a principal the caller's text is "
    "plain.\n"
    "Answer: {\"id\", \"decision\", \"layer\", \"kind\", \"policy\", \"rule\", \"candidates\", \"reason\"}, or {\"id\", "
    "\"error\"}.\n"
    "\nExamples:\n"
    "  echo '{\"destination\": {\"pod\": \"shop/db\", \"port\": 5432}}' | weftctl explain --manifests deploy/\n"
    "  weftctl explain --manifests deploy/ < requests.jsonl | jq 'select(.decision == \"deny\")'\n"
    "  weftctl explain --admin 127.0.0.1:15000 < requests.jsonl\n"
    "\nWith --admin the node proxy itself answers, by what it enforces at this moment. Its admin port is open to its "
    "node's\n"
    "loopback only: run weftctl there, or bring the port to you (kubectl port-forward -n istio-system POD 15000).\n"
    "\nA Deployment, or another kind that makes pods, stands for one pod of its name where the files have no pods of it.\n"
    "Exit status: 0 at the end of the requests, 2 when the manifests cannot be read or the node does not answer,\n"
    "64 for a wrong command line.\n";

constexpr const char* kStatusExamples =
    "\nExamples:\n"
    "  weftctl status                                  # of the node it runs on\n"
    "  weftctl status --admin 10.0.0.1 --admin 10.0.0.2\n"
    "  weftctl status --admin localhost:25000 --agent localhost:25015    # brought here by kubectl port-forward\n"
    "  weftctl status -o json | jq '.nodes[].problems'\n"
    "\nEach --agent belongs to the --admin at its place; without one the agent is asked at the same host, port 15015.\n"
    "Both ports are open to their node's loopback only.\n"
    "Exit status: 0 all is well, 1 something is to be seen to, 2 a node could not be asked, 64 for a wrong command line.\n";

void add_mesh_options(CLI::App& command, std::string& default_namespace, translate::Options& options) {
  command.add_option("-n,--namespace", default_namespace, "namespace of objects that name none")
      ->type_name("NAMESPACE")
      ->capture_default_str();
  command.add_option("--root-namespace", options.root_namespace, "namespace whose policies hold for the whole mesh")
      ->type_name("NAMESPACE")
      ->capture_default_str();
  command.add_option("--trust-domain", options.trust_domain, "trust domain of the mesh")
      ->type_name("DOMAIN")
      ->capture_default_str();
  command
      .add_option_function<std::string>(
          "--l7-deny-at-l4",
          [&options](const std::string& word) {
            options.http_in_deny =
                word == "deny" ? translate::Options::HttpInDeny::kDeny : translate::Options::HttpInDeny::kLeaveOut;
          },
          "what the node does with HTTP attributes of a DENY rule:\n"
          "leave them out as Istio does, or deny without regard to them")
      ->check(CLI::IsMember({"ignore", "deny"}))
      ->default_str("ignore");
  command
      .add_option_function<std::string>(
          "--enablement-selector",
          [&options](const std::string& yaml) { options.enablement = translate::parse_enablement(yaml).value(); },
          "who is in the mesh, as the agents' AMBIENT_ENABLEMENT_SELECTOR has it")
      ->type_name("YAML")
      ->check([](const std::string& yaml) {
        const auto parsed = translate::parse_enablement(yaml);
        return parsed ? "" : parsed.error().message();
      });
  command
      .add_option_function<std::string>(
          "--exclude-namespaces",
          [&options](const std::string& names) { options.excluded_namespaces = translate::parse_namespaces(names); },
          "namespaces whose pods are not in the mesh, as the agents' EXCLUDE_NAMESPACES has them")
      ->type_name("NAME,...");
}

Result<std::vector<std::pair<NodeAddress, NodeAddress>>> pair_nodes(const std::vector<std::string>& admins,
                                                                    const std::vector<std::string>& agents) {
  if (agents.size() > admins.size()) return fail(ErrorCode::kInvalidArgument, "more --agent than --admin");
  std::vector<std::pair<NodeAddress, NodeAddress>> nodes;
  for (std::size_t i = 0; i < admins.size(); ++i) {
    WEFT_TRY(auto admin, parse_node_address(admins[i], kAdminPort));
    NodeAddress agent{admin.host, kAgentPort};
    if (i < agents.size()) {
      WEFT_TRY(agent, parse_node_address(agents[i], kAgentPort));
    }
    nodes.emplace_back(std::move(admin), std::move(agent));
  }
  return nodes;
}

// As CLI11 takes it: empty when it is one.
std::string address_problem(const std::string& text, std::uint16_t default_port) {
  const auto address = parse_node_address(text, default_port);
  return address ? "" : address.error().message();
}

}  // namespace

std::expected<Command, int> read_command_line(int argc, char** argv, Colour colour) {
  CLI::App app(kDescription, "weftctl");
  app.footer(kExamples);
  app.require_subcommand(1);

  AnalyzeOptions analyze;
  std::string format = "text";
  auto* analyze_command = app.add_subcommand("analyze", "tell for every object whether and how the mesh applies it");
  analyze_command->footer(kAnalyzeExamples);
  analyze_command->add_option("PATH", analyze.paths, "files and folders of manifests")->required()->type_name("DIR|FILE");
  add_mesh_options(*analyze_command, analyze.default_namespace, analyze.translate);
  analyze_command->add_option("-o,--output", format, "lines for people, or an array for programs")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();

  ExplainOptions explain;
  auto* explain_command = app.add_subcommand("explain", "tell whether connections would be let in, by which policy and why");
  explain_command->footer(kExplainExamples);
  std::string admin;
  explain_command->add_option("--manifests", explain.manifests, "files and folders that describe the mesh")
      ->type_name("DIR|FILE");
  add_mesh_options(*explain_command, explain.default_namespace, explain.translate);
  const auto offline_options = explain_command->get_options([](CLI::Option* o) { return !o->check_lname("help"); });
  auto* admin_option = explain_command->add_option("--admin", admin, "admin address of a node to ask instead")
                           ->type_name("HOST[:PORT]")
                           ->check([](const std::string& text) { return address_problem(text, kAdminPort); });
  for (auto* option : offline_options) admin_option->excludes(option);

  StatusOptions status;
  std::vector<std::string> admins, agents;
  auto* status_command = app.add_subcommand("status", "tell how nodes are: pods, certificates, mesh, what is to be seen to");
  status_command->footer(kStatusExamples);
  status_command->add_option("--admin", admins, "admin addresses of nodes' ztunnels; default: 127.0.0.1")
      ->type_name("HOST[:PORT]")
      ->allow_extra_args(false)
      ->check([](const std::string& text) { return address_problem(text, kAdminPort); });
  status_command->add_option("--agent", agents, "admin addresses of their agents")
      ->type_name("HOST[:PORT]")
      ->allow_extra_args(false)
      ->check([](const std::string& text) { return address_problem(text, kAgentPort); });
  status_command->add_option("-o,--output", format, "tables for people, or an object for programs")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();

  std::string shell;
  auto* completion_command = app.add_subcommand("completion", "print what a shell needs to complete weftctl's words");
  completion_command->footer("\nExample:\n  source <(weftctl completion bash)\n");
  completion_command->add_option("SHELL", shell, "which shell")->required()->check(CLI::IsMember({"bash"}));

  try {
    app.parse(argc, argv);
    if (explain_command->parsed() && explain.manifests.empty() && admin.empty())
      throw CLI::RequiredError("--manifests or --admin");
    if (admins.empty()) admins.push_back("127.0.0.1");
    auto nodes = pair_nodes(admins, agents);
    if (!nodes) throw CLI::ValidationError(nodes.error().message());
    status.nodes = std::move(*nodes);
  } catch (const CLI::ParseError& end) {
    return std::unexpected(app.exit(end) == 0 ? 0 : kExitUsage);
  }
  if (completion_command->parsed()) return Print{bash_completion(app)};
  if (explain_command->parsed()) {
    if (!admin.empty()) explain.admin = *parse_node_address(admin, kAdminPort);
    return explain;
  }
  if (status_command->parsed()) {
    status.format = format == "json" ? Format::kJson : Format::kText;
    status.colour = colour;
    return status;
  }
  analyze.format = format == "json" ? Format::kJson : Format::kText;
  analyze.colour = colour;
  return analyze;
}

}  // namespace weft::ctl
