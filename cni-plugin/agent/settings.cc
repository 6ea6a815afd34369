#include "cni-plugin/agent/settings.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "lib/base/log.h"
#include "lib/translate/enrolment.h"

namespace weft::cni::agent {

const char* const kHelp =
    "weft-agent: enrols the pods of a node into the mesh.\n"
    "\n"
    "  --log_output_level LEVELS   info, or default:info,cni-plugin:debug (none fatal error warn info debug)\n"
    "  --log_as_json               log lines as JSON\n"
    "\n"
    "Everything else comes from the environment:\n"
    "  NODE_NAME                    this node; required\n"
    "  MANIFEST_DIR                 folder of Kubernetes manifests, watched; required\n"
    "  CNI_AGENT_RUN_DIR            the CNI plugin's sockets            [/var/run/istio-cni]\n"
    "  ZTUNNEL_UDS_ADDRESS          socket for node proxies             [/var/run/ztunnel/ztunnel.sock]\n"
    "  MONITORING_PORT              /metrics; 0: none                   [15014]\n"
    "  ADMIN_PORT                   /status, on loopback only; 0: none  [15015]\n"
    "  READINESS_PORT               /readyz and /healthz                [8000]\n"
    "  EXCLUDE_NAMESPACES           namespaces left out, comma-separated\n"
    "  POD_NAMESPACE                the agent's own namespace           [istio-system]\n"
    "  SYSTEM_NAMESPACE             the node proxies' namespace         [istio-system]\n"
    "  AMBIENT_ENABLEMENT_SELECTOR  who is in the mesh, a YAML list     [the labels istio.io/dataplane-mode]\n"
    "  AMBIENT_IPV6                 redirect IPv6 too                   [true]\n"
    "  AMBIENT_DNS_CAPTURE          redirect DNS: not available yet     [false]\n"
    "  NATIVE_NFTABLES              packet rules by nft, not by iptables  [false]\n"
    "  FORCE_IPTABLES_BINARY        legacy or nft: this variant of iptables or none  [legacy if the node has rules in it]\n"
    "  HOST_PROBE_SNAT_IP           source of health probes to pods     [169.254.7.127]\n"
    "  HOST_PROBE_SNAT_IPV6         the same for IPv6                   [fd16:9254:7127:1337:ffff:ffff:ffff:ffff]\n"
    "  ALLOW_SWITCH_TO_HOST_NS      the node's network namespace is that of process 1, not the agent's own  [false]\n"
    "  AMBIENT_DISABLE_SAFE_UPGRADE take the node's rules away at the end of the agent  [false]\n";

namespace {

class Reader {
 public:
  explicit Reader(const Environment& environment) : environment_(environment) {}

  void text(const char* name, std::string& out) const {
    if (const auto* value = find(name)) out = *value;
  }
  void required(const char* name, std::string& out) {
    text(name, out);
    if (out.empty()) wrong(name, "is required");
  }
  void boolean(const char* name, bool& out) {
    const auto* value = find(name);
    if (!value) return;
    // Go's spellings.
    static const std::set<std::string_view> kTrue{"1", "t", "T", "TRUE", "true", "True"};
    static const std::set<std::string_view> kFalse{"0", "f", "F", "FALSE", "false", "False"};
    if (kTrue.contains(*value))
      out = true;
    else if (kFalse.contains(*value))
      out = false;
    else
      wrong(name, "is neither true nor false: " + *value);
  }
  void iptables_variant(const char* name, std::optional<redirect::IptablesVariant>& out) {
    const auto* value = find(name);
    if (!value) return;
    if (*value == "legacy")
      out = redirect::IptablesVariant::kLegacy;
    else if (*value == "nft")
      out = redirect::IptablesVariant::kNft;
    else
      wrong(name, "is neither legacy nor nft: " + *value);
  }
  // 0 or less switches off, where that is allowed.
  void port(const char* name, std::uint16_t& out, bool may_be_off) {
    const auto* value = find(name);
    if (!value) return;
    long number = 0;
    const auto* end = value->data() + value->size();
    const auto [at, error] = std::from_chars(value->data(), end, number);
    if (error != std::errc() || at != end || number > 65535 || (number <= 0 && !may_be_off)) {
      return wrong(name, "is no port: " + *value);
    }
    out = static_cast<std::uint16_t>(std::max(number, 0L));
  }
  void address(const char* name, bool ipv6, IpAddress& out) {
    const auto* value = find(name);
    if (!value) return;
    auto ip = IpAddress::parse(*value);
    if (!ip || ip->is_v6() != ipv6 || ip->is_loopback() || ip->is_unspecified())
      return wrong(name, std::string("is no usable IPv") + (ipv6 ? "6" : "4") + " address: " + *value);
    out = *ip;
  }
  void wrong(std::string_view name, const std::string& what) {
    problems_ += (problems_.empty() ? "" : "\n") + std::string(name) + " " + what;
  }
  // Null when unset; empty values count as unset.
  const std::string* find(const char* name) const {
    const auto found = environment_.find(name);
    return found == environment_.end() || found->second.empty() ? nullptr : &found->second;
  }
  const std::string& problems() const { return problems_; }

 private:
  const Environment& environment_;
  std::string problems_;
};

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    auto part = text.substr(0, text.find(separator));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    while (!part.empty() && part.front() == ' ') part.remove_prefix(1);
    while (!part.empty() && part.back() == ' ') part.remove_suffix(1);
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

// "default:info,cni-agent:debug" as our log knows it: "info,agent=debug".
Result<std::string> log_filter(std::string_view levels) {
  std::string filter;
  for (const auto item : split(levels, ',')) {
    const auto colon = item.find(':');
    auto scope = colon == item.npos ? std::string_view("default") : item.substr(0, colon);
    std::string level(colon == item.npos ? item : item.substr(colon + 1));
    if (level == "none") level = "off";
    if (level == "fatal") level = "error";
    WEFT_TRY(const auto known, log::parse_level(level));
    if (scope == "cni-agent") scope = "agent";
    filter += (filter.empty() ? "" : ",") + (scope == "default" || scope == "all" ? "" : std::string(scope) + "=") +
              std::string(log::to_string(known));
  }
  return filter;
}

void read_arguments(const std::vector<std::string>& arguments, Settings& settings, Reader& reader) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    std::string name = arguments[i];
    std::optional<std::string> value;
    if (const auto equals = name.find('='); equals != name.npos) {
      value = name.substr(equals + 1);
      name.resize(equals);
    }
    if (name == "--log_as_json") {
      settings.log_json = !value || *value == "true";
    } else if (name == "--log_output_level") {
      if (!value && i + 1 < arguments.size()) value = arguments[++i];
      auto filter = log_filter(value.value_or(""));
      if (filter && !filter->empty())
        settings.log_filter = std::move(*filter);
      else
        reader.wrong(name, "needs levels such as default:info");
    } else {
      reader.wrong(arguments[i], "is no option");
    }
  }
}

}  // namespace

Result<Settings> load_settings(const Environment& environment, const std::vector<std::string>& arguments) {
  Settings settings;
  Reader reader(environment);
  read_arguments(arguments, settings, reader);
  reader.required("NODE_NAME", settings.node_name);
  reader.required("MANIFEST_DIR", settings.manifest_dir);
  reader.text("CNI_AGENT_RUN_DIR", settings.run_dir);
  reader.text("ZTUNNEL_UDS_ADDRESS", settings.zds_path);
  reader.port("MONITORING_PORT", settings.monitoring_port, true);
  reader.port("ADMIN_PORT", settings.admin_port, true);
  reader.port("READINESS_PORT", settings.readiness_port, false);
  if (const auto* names = reader.find("EXCLUDE_NAMESPACES"))
    settings.excluded_namespaces = translate::parse_namespaces(*names);
  reader.text("POD_NAMESPACE", settings.pod_namespace);
  reader.text("SYSTEM_NAMESPACE", settings.system_namespace);
  if (const auto* yaml = reader.find("AMBIENT_ENABLEMENT_SELECTOR")) {
    auto enablement = translate::parse_enablement(*yaml);
    if (enablement)
      settings.enablement = std::move(*enablement);
    else
      reader.wrong("AMBIENT_ENABLEMENT_SELECTOR", enablement.error().message());
  }
  reader.boolean("AMBIENT_IPV6", settings.ipv6);
  reader.boolean("AMBIENT_DNS_CAPTURE", settings.dns_capture);
  reader.boolean("NATIVE_NFTABLES", settings.native_nftables);
  reader.iptables_variant("FORCE_IPTABLES_BINARY", settings.force_iptables);
  reader.address("HOST_PROBE_SNAT_IP", false, settings.probes.v4);
  reader.address("HOST_PROBE_SNAT_IPV6", true, settings.probes.v6);
  reader.boolean("ALLOW_SWITCH_TO_HOST_NS", settings.switch_to_host);
  reader.boolean("AMBIENT_DISABLE_SAFE_UPGRADE", settings.clean_at_stop);
  if (!reader.problems().empty()) return fail(ErrorCode::kInvalidArgument, reader.problems());
  return settings;
}

}  // namespace weft::cni::agent
