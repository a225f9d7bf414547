"""docker's defaults, listed once more from their source, so that none changes by accident.

Sources, as of mid-2026: moby `daemon/pkg/oci/defaults.go` (mounts, paths), `daemon/pkg/oci/caps/defaults.go` (capabilities) and
moby/profiles `seccomp/default.json` (system calls).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support import bpf as kernel
from support.engine import Wherry
from wherry.model import caps
from wherry.runtime import bpf, defaults, seccomp_profile, syscalls

CAPABILITIES = """
    AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID SYS_CHROOT
""".split()
# The same as the kernel's bit set.
CAPABILITY_BITS = 0xA80425FB

MASKED = """
    /proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/sched_debug /proc/scsi /proc/timer_list
    /proc/timer_stats /sys/devices/virtual/powercap /sys/firmware
""".split()
READ_ONLY = "/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger".split()

ALLOWED = """
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime clock_adjtime64
    clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect
    copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
    epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark
    fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr
    fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait
    futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups
    getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32
    getrlimit get_robust_list getrusage getsid getsockname getsockopt get_thread_area gettid gettimeofday getuid getuid32 getxattr
    getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents
    io_pgetevents_time64 ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset
    landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr _llseek lremovexattr
    lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock
    mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
    mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep
    newfstatat _newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll
    ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read
    readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename
    renameat renameat2 restart_syscall riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
    rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam
    sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64
    sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop
    semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups
    setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32
    setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address setuid setuid32 setxattr setxattrat shmat shmctl shmdt
    shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64
    statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun
    timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
    timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64
    utimes vfork vmsplice wait4 waitid waitpid write writev
    process_vm_readv process_vm_writev ptrace
""".split()
ALLOWED_ON = {
    "x86_64": "arch_prctl modify_ldt".split(),
    "aarch64": "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls".split(),
}
ON_ARGUMENTS = ("socket", "personality", "clone", "clone3")
ALLOWED_WITH = {
    "DAC_READ_SEARCH": "open_by_handle_at",
    "SYS_ADMIN": "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules "
    "lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns "
    "syslog umount umount2 unshare",
    "SYS_BOOT": "reboot",
    "SYS_CHROOT": "chroot",
    "SYS_MODULE": "delete_module init_module finit_module",
    "SYS_PACCT": "acct",
    "SYS_PTRACE": "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    "SYS_RAWIO": "iopl ioperm",
    "SYS_TIME": "settimeofday stime clock_settime clock_settime64",
    "SYS_TTY_CONFIG": "vhangup",
    "SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "SYSLOG": "syslog",
    "BPF": "bpf",
    "PERFMON": "perf_event_open",
}
FAMILIES_LEFT_OUT = (12, 19, 20, 23, 25, 34, 37, 38, 40)
LAST_FAMILY = 45
PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
# Every one of CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
NAMESPACE_FLAGS = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
EPERM, ENOSYS = kernel.ERRNO | 1, kernel.ERRNO | 38


def test_capabilities() -> None:
    assert sorted(caps.DEFAULT) == CAPABILITIES
    assert caps.bits(caps.DEFAULT) == CAPABILITY_BITS


def test_paths() -> None:
    assert sorted(defaults.MASKED_PATHS) == MASKED
    assert sorted(defaults.READONLY_PATHS) == READ_ONLY


def test_thermal_counters_of_each_processor_are_hidden(tmp_path: Path) -> None:
    """GHSA-6fw5-f8r9-fgfm."""
    (tmp_path / "possible").write_text("0-1,3\n")
    for number in (0, 2, 3):
        (tmp_path / f"cpu{number}/thermal_throttle").mkdir(parents=True)
    found = defaults.masked_paths(str(tmp_path))[len(defaults.MASKED_PATHS) :]
    assert found == tuple(f"{tmp_path}/cpu{number}/thermal_throttle" for number in (0, 3))
    assert defaults.masked_paths(f"{tmp_path}/none") == defaults.MASKED_PATHS


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("extra", [None, *ALLOWED_WITH])
def test_system_calls(machine: str, extra: str | None) -> None:
    names = frozenset(caps.DEFAULT) | ({extra} if extra else frozenset())
    program = kernel.decode(bpf.compile_profile(seccomp_profile.profile(names, machine), machine))
    allowed = {*ALLOWED, *ALLOWED_ON[machine]}
    for capability in names:
        allowed.update(ALLOWED_WITH.get(capability, "").split())
    for mode in {"x86_64": ("x86_64", "x86", "x32"), "aarch64": ("aarch64", "arm")}[machine]:
        for name, number in syscalls.numbers(mode).items():
            if name in ON_ARGUMENTS and name not in allowed:
                continue
            at, where = (number | kernel.X32_BIT, "x86_64") if mode == "x32" else (number, mode)
            expected = kernel.ALLOW if name in allowed else EPERM
            assert kernel.run(program, where, at)[0] == expected, (mode, name)


@pytest.fixture(scope="module")
def filter_() -> kernel.Program:
    return kernel.decode(bpf.compile_profile(seccomp_profile.profile(frozenset(caps.DEFAULT), "x86_64"), "x86_64"))


def test_socket_families(filter_: kernel.Program) -> None:
    """AF_ALG is CVE-2026-31431; a family that comes later is closed until somebody has looked at it."""
    number = syscalls.numbers("x86_64")["socket"]
    for family in range(100):
        expected = family <= LAST_FAMILY and family not in FAMILIES_LEFT_OUT
        assert (kernel.run(filter_, "x86_64", number, family)[0] == kernel.ALLOW) is expected, family


def test_clone_makes_no_namespaces(filter_: kernel.Program) -> None:
    numbers = syscalls.numbers("x86_64")
    assert kernel.run(filter_, "x86_64", numbers["clone"], 0x3D0F00)[0] == kernel.ALLOW  # a thread
    for flag in NAMESPACE_FLAGS:
        assert kernel.run(filter_, "x86_64", numbers["clone"], flag | 0x11)[0] == EPERM
    assert kernel.run(filter_, "x86_64", numbers["clone3"])[0] == ENOSYS


def test_personalities(filter_: kernel.Program) -> None:
    number = syscalls.numbers("x86_64")["personality"]
    for value in (*PERSONALITIES, 1, 0x40000, 0x20001, 0xFFFFFFFE):
        assert (kernel.run(filter_, "x86_64", number, value)[0] == kernel.ALLOW) is (value in PERSONALITIES)


def test_in_a_container(w: Wherry) -> None:
    """What the kernel says of a container's first process."""
    script = "grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status; cat /proc/self/mountinfo"
    done = w.ok("run", "--rm", "busybox", "sh", "-c", script)
    status, mounts = {}, {}
    for line in done.splitlines():
        if ":\t" in line:
            name, _, value = line.partition(":\t")
            status[name] = value
        elif " - " in line:
            fields = line.split()
            mounts[fields[4]] = fields[5].split(",")
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert int(status[name], 16) == CAPABILITY_BITS, name
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "0"
    for path in (p for p in MASKED if os.path.exists(p)):
        assert path in mounts or not w.ok("run", "--rm", "busybox", "sh", "-c", f"ls -A {path} 2>/dev/null; true").strip(), path
    for path in (p for p in READ_ONLY if os.path.exists(p)):
        assert "ro" in mounts[path], path
    assert "ro" in mounts["/sys"] and "ro" in mounts["/sys/fs/cgroup"]
    for path, option in (("/proc", "nosuid"), ("/dev", "nosuid"), ("/dev/pts", "noexec"), ("/dev/shm", "nodev"), ("/dev/mqueue", "noexec")):
        assert option in mounts[path], path
