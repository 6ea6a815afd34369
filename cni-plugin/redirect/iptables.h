// Runs iptables-save(8), iptables-restore(8) and iptables(8), of either variant and family.
#pragma once

#include <string>
#include <string_view>

#include "cni-plugin/redirect/redirect.h"
#include "cni-plugin/redirect/rules.h"

namespace weft::cni::redirect {

// How long a legacy program waits for the lock that its kind share, on the node only: inside a pod the lock is the pod's
// network namespace itself (XTABLES_LOCKFILE, iptables 1.8.6), so that pods do not wait for each other or for the node.
inline constexpr int kIptablesLockSeconds = 3;

enum class LockScope { kNode, kNamespace };

// All rules of the namespace. Errors as run_command().
Result<std::string> iptables_save(const IptablesProgram& program);
// Executes `text`, each table of it as one transaction, and leaves all else as it is. An empty text runs nothing.
Result<void> iptables_restore(const IptablesProgram& program, std::string_view text, LockScope scope);
// The rules of one chain of the table nat.
Result<std::string> iptables_list_nat(const IptablesProgram& program, std::string_view chain);

// Which variant a program is, from what it says of its version.
Result<IptablesProgram> identify_iptables(const std::string& name);
// From "iptables-restore v1.8.9 (nf_tables)". kInvalidArgument when it is something else.
Result<IptablesProgram> parse_iptables_version(const std::string& name, std::string_view text);

// The kernel's old tables that exist in this namespace. Without them there are no legacy rules, and asking for some would
// make them.
bool has_legacy_tables(AddressFamily family);
bool has_legacy_table(AddressFamily family, std::string_view table);

}  // namespace weft::cni::redirect
