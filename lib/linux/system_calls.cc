#include "lib/linux/system_calls.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "lib/base/sanitizers.h"

namespace weft::linux {
namespace {

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
constexpr std::uint32_t kArchitecture = 0;  // unknown to us: no filter
#endif

// Newer than the headers of Debian 12; numbers from 424 on are the same everywhere.
constexpr int kSysOpenTreeAttr = 467;
constexpr int kSetMdwe = 65, kMdweRefuseExecGain = 1;

// x86-64's second ABI with pointers of 32 bits has numbers from here on (__X32_SYSCALL_BIT); no other processor has any.
constexpr std::uint32_t kX32Numbers = 0x40000000;

constexpr std::uint32_t kNamespaceFlags =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

constexpr int kOfAll[] = {
    // file systems and their roots
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_open_tree,
    kSysOpenTreeAttr,
    SYS_move_mount,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_mount_setattr,
    SYS_open_by_handle_at,
    SYS_fanotify_init,
    SYS_quotactl,
    SYS_quotactl_fd,
    SYS_swapon,
    SYS_swapoff,
    // the kernel
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_kexec_file_load,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    SYS_syslog,
    SYS_reboot,
    // the machine
    SYS_acct,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_clock_adjtime,
    SYS_adjtimex,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_personality,
    SYS_vhangup,
#if defined(__x86_64__)
    SYS_iopl,
    SYS_ioperm,
    SYS_modify_ldt,
    SYS_uselib,
#endif
};
constexpr int kOtherProcesses[] = {SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp, SYS_pidfd_getfd};

class Filter {
 public:
  // What comes by another ABI has other numbers.
  void refuse_other_abis() {
    load(offsetof(seccomp_data, arch));
    unless_equal(kArchitecture, 1);
    answer(EPERM);
    load(offsetof(seccomp_data, nr));
    code_.push_back(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kX32Numbers, 0, 1));
    answer(EPERM);
  }
  void refuse(int call, int error = EPERM) {
    if_equal(call, 1);
    answer(error);
  }
  void refuse_all(std::initializer_list<int> calls) {
    for (const int call : calls) refuse(call);
  }
  // Unless the low half of an argument is `value`.
  void refuse_unless(int call, unsigned argument, std::uint32_t value) {
    if_equal(call, 4);
    load_argument(argument);
    code_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 1, 0));
    answer(EPERM);
    allow();
  }
  // When the low half of an argument has one of `bits`.
  void refuse_if(int call, unsigned argument, std::uint32_t bits) {
    if_equal(call, 4);
    load_argument(argument);
    code_.push_back(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1));
    answer(EPERM);
    allow();
  }
  void allow() { code_.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)); }

  // For all threads at once.
  Result<void> install() {
    const sock_fprog program{.len = static_cast<unsigned short>(code_.size()), .filter = code_.data()};
    const long odd_thread = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
    if (odd_thread < 0) return fail_errno(errno, "seccomp");
    if (odd_thread > 0) return fail(ErrorCode::kInternal, "seccomp: a thread has a filter of its own");
    return {};
  }

 private:
  void load(std::size_t offset) { code_.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset))); }
  void load_argument(unsigned argument) {
    static_assert(std::endian::native == std::endian::little, "the low half comes first");
    load(offsetof(seccomp_data, args) + argument * sizeof(std::uint64_t));
  }
  // The next `count` instructions are for this call alone; they end in an answer, so that the call's number stays loaded.
  void if_equal(int call, std::uint8_t count) {
    code_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, count));
  }
  void unless_equal(std::uint32_t value, std::uint8_t count) {
    code_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, count, 0));
  }
  void answer(int error) {
    code_.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (static_cast<std::uint32_t>(error) & SECCOMP_RET_DATA)));
  }

  std::vector<sock_filter> code_;
};

}  // namespace

Result<void> refuse_system_calls(const CallsInUse& in_use) {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno(errno, "prctl PR_SET_NO_NEW_PRIVS");
  if (kArchitecture == 0) return fail(ErrorCode::kUnsupported, "no filter of system calls for this processor");
  constexpr bool kWatched = kAddressSanitizer || kThreadSanitizer;
  Filter filter;
  filter.refuse_other_abis();
  for (const int call : kOfAll) filter.refuse(call);
  if (!kWatched) {
    for (const int call : kOtherProcesses) filter.refuse(call);
  }
  if (!in_use.run_programs && !kWatched) filter.refuse_all({SYS_execve, SYS_execveat});
  if (!in_use.io_uring) filter.refuse_all({SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register});
  if (in_use.enter_network_namespaces) {
    filter.refuse_unless(SYS_setns, 1, CLONE_NEWNET);
  } else {
    filter.refuse(SYS_setns);
  }
  if (in_use.make_network_namespaces) {
    filter.refuse_unless(SYS_unshare, 0, CLONE_NEWNET);
  } else {
    filter.refuse(SYS_unshare);
  }
  filter.refuse_if(SYS_clone, 0, kNamespaceFlags);
  filter.refuse(SYS_clone3, ENOSYS);
  filter.allow();
  return filter.install();
}

Result<void> forbid_new_code() {
  if (::prctl(kSetMdwe, kMdweRefuseExecGain, 0, 0, 0) == 0) return {};
  if (errno == EINVAL) return fail(ErrorCode::kUnsupported, "the kernel is older than Linux 6.3");
  return fail_errno(errno, "prctl PR_SET_MDWE");
}

}  // namespace weft::linux
