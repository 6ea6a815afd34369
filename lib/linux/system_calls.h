// System calls and memory that a program goes without for good (seccomp(2), PR_SET_MDWE), so that who takes it over by a
// mistake in it gets little further. docs/decisions/confinement.md says why it is a list of what is refused.
#pragma once

#include "lib/base/result.h"

namespace weft::linux {

// Calls that not every program of ours does without; those of all are refused whatever this says.
struct CallsInUse {
  bool run_programs = false;              // execve
  bool enter_network_namespaces = false;  // setns, to a network namespace only
  bool make_network_namespaces = false;   // unshare, of the network only
  bool io_uring = false;
};

// All threads of the process, and the programs that it executes, get EPERM for: executing, looking into other processes,
// mounting and changing the root, namespaces, modules, other kernels, BPF, perf events, userfaultfd, keyrings, handles of
// files, swap, accounting, time, ports of the processor, personalities, and for everything called by a 32-bit ABI. clone3 is
// not there (ENOSYS), since a filter cannot see its flags; the C library then takes clone. A program that a sanitizer
// watches may execute (its symbolizer) and look into processes (LeakSanitizer stops the threads by ptrace). Sets
// no_new_privs first, which the kernel wants and which stays when the filter fails. Errors: kUnsupported (processor),
// kInvalidArgument (kernel without filters), kPermission (the container forbids them), kInternal (a thread has its own).
Result<void> refuse_system_calls(const CallsInUse& in_use);

// No memory of this process, or of the programs that it executes, is made executable after it was mapped, or mapped both
// writable and executable. kUnsupported before Linux 6.3.
Result<void> forbid_new_code();

}  // namespace weft::linux
