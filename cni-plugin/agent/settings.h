// Every setting of the node agent, with istio-cni's names and defaults. Read once at start.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cni-plugin/redirect/backend.h"
#include "lib/base/result.h"
#include "lib/translate/options.h"

namespace weft::cni::agent {

struct Settings {
  std::string node_name;                                   // NODE_NAME, required
  std::string manifest_dir;                                // MANIFEST_DIR, required: where pods and namespaces come from
  std::string run_dir = "/var/run/istio-cni";              // CNI_AGENT_RUN_DIR
  std::string zds_path = "/var/run/ztunnel/ztunnel.sock";  // ZTUNNEL_UDS_ADDRESS
  std::uint16_t monitoring_port = 15014;                   // MONITORING_PORT; 0 or less: none
  std::uint16_t admin_port = 15015;                        // ADMIN_PORT, on loopback; 0 or less: none
  std::uint16_t readiness_port = 8000;                     // READINESS_PORT
  std::set<std::string> excluded_namespaces;               // EXCLUDE_NAMESPACES, comma-separated
  std::string pod_namespace = "istio-system";              // POD_NAMESPACE, the agent's own
  std::string system_namespace = "istio-system";           // SYSTEM_NAMESPACE, the proxies'
  std::vector<translate::EnablementSelector> enablement =
      translate::default_enablement_selectors();            // AMBIENT_ENABLEMENT_SELECTOR
  bool ipv6 = true;                                         // AMBIENT_IPV6
  bool dns_capture = false;                                 // AMBIENT_DNS_CAPTURE
  bool native_nftables = false;                             // NATIVE_NFTABLES
  std::optional<redirect::IptablesVariant> force_iptables;  // FORCE_IPTABLES_BINARY: legacy or nft
  redirect::ProbeSource probes;                             // HOST_PROBE_SNAT_IP, HOST_PROBE_SNAT_IPV6
  bool switch_to_host = false;                              // ALLOW_SWITCH_TO_HOST_NS
  bool clean_at_stop = false;                               // AMBIENT_DISABLE_SAFE_UPGRADE
  std::string log_filter = "info";                          // --log_output_level
  bool log_json = false;                                    // --log_as_json
};

using Environment = std::map<std::string, std::string>;

// All that is wrong comes back as one error, a line each. `arguments` without the program's name.
Result<Settings> load_settings(const Environment& environment, const std::vector<std::string>& arguments);

extern const char* const kHelp;

}  // namespace weft::cni::agent
