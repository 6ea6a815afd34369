// libFuzzer target: arbitrary bytes where the CNI plugin reads what others wrote. The first byte chooses the reader: the
// runtime's configuration on standard input, CNI_ARGS, the agent's reply, the kernel's list of connections, or of rules by
// either of their programs.
#include <cstdint>
#include <string>
#include <string_view>

#include "cni-plugin/plugin/agent_client.h"
#include "cni-plugin/plugin/cni_result.h"
#include "cni-plugin/plugin/command.h"
#include "cni-plugin/plugin/json.h"
#include "cni-plugin/plugin/network_config.h"
#include "cni-plugin/redirect/conntrack.h"
#include "cni-plugin/redirect/iptables_text.h"
#include "cni-plugin/redirect/nft_text.h"
#include "lib/base/check.h"

namespace {

using namespace weft;
using namespace weft::cni;

// What was accepted can be handed on: it is JSON again, and the next plugin of the chain reads the same addresses.
void configuration(std::string_view text) {
  const plugin::Environment environment{.command = "ADD",
                                        .container_id = "c",
                                        .netns = "/n",
                                        .netns_override = "",
                                        .interface = "eth0",
                                        .args = "",
                                        .path = "/p"};
  const auto call = plugin::read_call(plugin::Command::kAdd, environment, text);
  if (!call) {
    WEFT_CHECK(plugin::parse_json(plugin::to_json(call.error())).has_value());
    return;
  }
  (void)plugin::read_network_config(text);
  const auto result = plugin::read_previous_result(text, call->version);
  if (!result) return;
  const auto next = plugin::read_previous_result(R"({"prevResult":)" + result->text + "}", call->version);
  WEFT_CHECK(next.has_value());
  WEFT_CHECK(next->text == result->text || !result->has_previous);
  const plugin::PodEvent event{.netns = "/n",
                               .pod_name = "p",
                               .pod_namespace = "s",
                               .has_addresses = result->has_previous,
                               .addresses = result->addresses};
  WEFT_CHECK(plugin::parse_json(plugin::to_json(event)).has_value());
}

void reply(std::string_view text) {
  const auto whole = plugin::parse_reply(text, true);
  WEFT_CHECK(!whole || *whole);  // at the end there is an answer or an error
  if (whole) WEFT_CHECK((*whole)->body.size() <= plugin::kReplyBodyMax);
  (void)plugin::parse_reply(text.substr(0, text.size() / 2), false);
}

void saved_rules(std::string_view text) {
  const auto rules = redirect::parse_saved_rules(text);
  (void)rules.text();
  (void)redirect::iptables_remove_text(rules);
  (void)redirect::iptables_install_text({}, redirect::AddressFamily::kIpv4, rules);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 5) {
    case 0: configuration(text); break;
    case 1: (void)plugin::read_arguments(text); break;
    case 2: reply(text); break;
    case 3: (void)redirect::parse_open_connections(text); break;
    default:
      WEFT_CHECK(redirect::nft_our_tables(text).size() <= text.size() + 1);
      saved_rules(text);
      break;
  }
  return 0;
}
