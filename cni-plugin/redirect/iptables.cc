#include "cni-plugin/redirect/iptables.h"

#include "cni-plugin/redirect/command.h"
#include "cni-plugin/redirect/lines.h"
#include "cni-plugin/redirect/proc.h"
#include "lib/base/log.h"

namespace weft::cni::redirect {
namespace {

Result<std::string> run(const std::string& program, std::vector<std::string> arguments, std::string_view input = {},
                        LockScope scope = LockScope::kNode) {
  Command command{.program = program, .arguments = std::move(arguments), .input = input, .package = "iptables"};
  if (scope == LockScope::kNamespace) command.environment.emplace_back("XTABLES_LOCKFILE=/proc/self/ns/net");
  return run_command(command);
}

std::string legacy_tables(AddressFamily family) {
  return read_proc(family == AddressFamily::kIpv4 ? "/proc/thread-self/net/ip_tables_names"
                                                  : "/proc/thread-self/net/ip6_tables_names")
      .value_or("");
}

void wait_for_lock(const IptablesProgram& program, std::vector<std::string>& arguments) {
  if (program.legacy) arguments.push_back(fmt::format("--wait={}", kIptablesLockSeconds));
}

}  // namespace

Result<std::string> iptables_save(const IptablesProgram& program) { return run(program.name + "-save", {}); }

Result<void> iptables_restore(const IptablesProgram& program, std::string_view text, LockScope scope) {
  if (text.empty()) return {};
  std::vector<std::string> arguments{"--noflush"};
  wait_for_lock(program, arguments);
  WEFT_TRY_VOID(run(program.name + "-restore", std::move(arguments), text, scope));
  return {};
}

Result<std::string> iptables_list_nat(const IptablesProgram& program, std::string_view chain) {
  std::vector<std::string> arguments{"-t", "nat", "-S", std::string(chain)};
  wait_for_lock(program, arguments);
  return run(program.name, std::move(arguments));
}

Result<IptablesProgram> identify_iptables(const std::string& name) {
  WEFT_TRY(const std::string text, run(name + "-restore", {"--version"}));
  return parse_iptables_version(name, text);
}

// Before 1.8 there was only one variant, and it was not named.
Result<IptablesProgram> parse_iptables_version(const std::string& name, std::string_view text) {
  const auto version = text.find(" v");
  if (version == text.npos || text.substr(version + 2).find('.') == text.npos) {
    return fail(ErrorCode::kInvalidArgument, name + "-restore tells no version: " + std::string(text.substr(0, 80)));
  }
  return IptablesProgram{name, text.find("nf_tables") == text.npos};
}

bool has_legacy_tables(AddressFamily family) { return !legacy_tables(family).empty(); }

bool has_legacy_table(AddressFamily family, std::string_view table) {
  const auto names = legacy_tables(family);
  for (std::string_view rest = names; !rest.empty();) {
    if (next_line(rest) == table) return true;
  }
  return false;
}

}  // namespace weft::cni::redirect
