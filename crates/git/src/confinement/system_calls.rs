//! The system calls that a fetch child may no longer make, for every architecture whose numbers are known here. On another
//! one none is refused, and that is told; files and network are out of reach there all the same.

use std::{collections::BTreeMap, env};

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

/// A system call: its name, its number on x86-64, and that in the generic table of Linux, which aarch64 and riscv64 have.
type Call = (&'static str, i64, i64);

/// Those that no fetch makes: other programs, other processes, other views of the system, other ways to make system calls.
/// A list of what it does make would depend on libc and kernel.
const REFUSED: &[Call] = &[
    ("execve", 59, 221),
    ("execveat", 322, 281),
    ("ptrace", 101, 117),
    ("process_vm_readv", 310, 270),
    ("process_vm_writev", 311, 271),
    ("pidfd_getfd", 438, 438),
    ("kcmp", 312, 272),
    ("mount", 165, 40),
    ("umount2", 166, 39),
    ("move_mount", 429, 429),
    ("open_tree", 428, 428),
    ("fsopen", 430, 430),
    ("fsconfig", 431, 431),
    ("fsmount", 432, 432),
    ("fspick", 433, 433),
    ("mount_setattr", 442, 442),
    ("pivot_root", 155, 41),
    ("chroot", 161, 51),
    ("unshare", 272, 97),
    ("setns", 308, 268),
    ("bpf", 321, 280),
    ("perf_event_open", 298, 241),
    ("userfaultfd", 323, 282),
    ("io_uring_setup", 425, 425),
    ("io_uring_enter", 426, 426),
    ("io_uring_register", 427, 427),
    ("add_key", 248, 217),
    ("request_key", 249, 218),
    ("keyctl", 250, 219),
    ("init_module", 175, 105),
    ("finit_module", 313, 273),
    ("delete_module", 176, 106),
    ("kexec_load", 246, 104),
    ("kexec_file_load", 320, 294),
    ("open_by_handle_at", 304, 265),
    ("listen", 50, 201),
    ("accept", 43, 202),
    ("accept4", 288, 242),
];
/// Makes a thread; or a process in other views of the system, which is refused.
const CLONE: Call = ("clone", 56, 220);
/// The same by a structure that no filter can read: as if the kernel did not know it, so that the C library takes `clone`.
const CLONE3: Call = ("clone3", 435, 435);
const SOCKET: Call = ("socket", 41, 198);
/// Other views: of mounts, control groups, names of the machine, System V objects, users, processes, networks. That of clocks
/// cannot be asked for by `clone`.
const VIEWS: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];
/// Kinds of sockets beside streams and datagrams: raw, rdm, seqpacket, dccp, packet.
const REFUSED_SOCKETS: [i32; 5] = [libc::SOCK_RAW, libc::SOCK_RDM, libc::SOCK_SEQPACKET, 6, 10];
/// The bits of the kind of a socket; others say how it is used.
const SOCKET_KIND: u64 = 0xf;
/// Set in the number of a system call that comes in the x32 form, which kernels for x86-64 may know.
const X32: i64 = 0x4000_0000;
/// Those of them that have numbers of their own in that form: execve, ptrace, kexec_load, process_vm_readv and writev,
/// execveat.
const REFUSED_X32: [i64; 6] = [520, 521, 528, 539, 540, 545];

/// Refuses them in this process from here on. Returns whether the kernel takes the filters: one without seccomp, or that has
/// been told to allow none, does not.
pub(super) fn refuse() -> bool {
    let arch = TargetArch::try_from(env::consts::ARCH);
    let programs = arch.and_then(|arch| Ok([absent(arch)?, filter(arch)?]));
    programs.is_ok_and(|programs| programs.iter().all(|program| apply_filter(program).is_ok()))
}

/// The numbers of a call on an architecture.
fn numbers(call: Call, arch: TargetArch) -> Vec<i64> {
    match arch {
        TargetArch::x86_64 => vec![call.1, call.1 | X32],
        TargetArch::aarch64 | TargetArch::riscv64 => vec![call.2],
    }
}

/// The filter of calls that are refused, for an architecture. A system call that comes in the form of another one ends the
/// process.
fn filter(arch: TargetArch) -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<_, _> =
        REFUSED.iter().flat_map(|call| numbers(*call, arch)).map(|number| (number, Vec::new())).collect();
    if arch == TargetArch::x86_64 {
        rules.extend(REFUSED_X32.map(|number| (number | X32, Vec::new())));
    }
    for (call, refused) in [(CLONE, refused_clones()?), (SOCKET, refused_sockets()?)] {
        rules.extend(numbers(call, arch).into_iter().map(|number| (number, refused.clone())));
    }
    program(rules, libc::EPERM, arch)
}

/// The filter of calls that are not there.
fn absent(arch: TargetArch) -> Result<BpfProgram, BackendError> {
    let rules = numbers(CLONE3, arch).into_iter().map(|number| (number, Vec::new())).collect();
    program(rules, libc::ENOSYS, arch)
}

fn program(rules: BTreeMap<i64, Vec<SeccompRule>>, error: i32, arch: TargetArch) -> Result<BpfProgram, BackendError> {
    let refused = SeccompAction::Errno(error.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, refused, arch).and_then(BpfProgram::try_from)
}

fn refused_clones() -> Result<Vec<SeccompRule>, BackendError> {
    let with = |view: i32| {
        let flag = u64::from(view.unsigned_abs());
        SeccompRule::new(vec![condition(0, SeccompCmpOp::MaskedEq(flag), flag)?])
    };
    VIEWS.into_iter().map(with).collect()
}

/// All but TCP and UDP over IP. Names are asked for by UDP, to whatever server. Neither the C library nor anything else here
/// needs sockets of files or of the kernel: without them it looks names up by those files that it may read. Other protocols
/// (MPTCP among them) would not be held to the ports of TCP.
fn refused_sockets() -> Result<Vec<SeccompRule>, BackendError> {
    let none_of = |argument: u8, allowed: &[i32]| {
        let others = allowed.iter().map(|one| condition(argument, SeccompCmpOp::Ne, u64::from(one.unsigned_abs())));
        SeccompRule::new(others.collect::<Result<_, _>>()?)
    };
    let mut rules =
        vec![none_of(0, &[libc::AF_INET, libc::AF_INET6])?, none_of(2, &[0, libc::IPPROTO_TCP, libc::IPPROTO_UDP])?];
    for kind in REFUSED_SOCKETS {
        let is_kind = condition(1, SeccompCmpOp::MaskedEq(SOCKET_KIND), u64::from(kind.unsigned_abs()))?;
        rules.push(SeccompRule::new(vec![is_kind])?);
    }
    Ok(rules)
}

/// About an argument, of which the kernel looks at 32 bits.
fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel calls them (`linux/audit.h`).
    const AUDIT: [(TargetArch, u32); 3] =
        [(TargetArch::x86_64, 0xc000_003e), (TargetArch::aarch64, 0xc000_00b7), (TargetArch::riscv64, 0xc000_00f3)];
    const AUDIT_I386: u32 = 0x4000_0003;
    const AUDIT_ARM: u32 = 0x4000_0028;
    const ALLOWED: u32 = libc::SECCOMP_RET_ALLOW;
    const REFUSED_CALL: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
    const KILLED: u32 = libc::SECCOMP_RET_KILL_PROCESS;

    const ABSENT: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    /// TCP over IP; as arguments of `clone`, no view is among them.
    const TCP: [i32; 3] = [libc::AF_INET, libc::SOCK_STREAM, 0];

    fn verdict(program: &BpfProgram, audit: u32, number: i64) -> u32 {
        verdict_with(program, audit, number, TCP)
    }

    /// What the kernel does with a call: the program runs over its number, architecture and arguments.
    fn verdict_with(program: &BpfProgram, audit: u32, number: i64, arguments: [i32; 3]) -> u32 {
        let (mut at, mut value) = (0_usize, 0_u32);
        loop {
            let step = &program[at];
            at += 1;
            match step.code {
                // Load a word of the call.
                0x20 => {
                    value = match step.k {
                        0 => u32::try_from(number).unwrap(),
                        4 => audit,
                        // The lower half of an argument.
                        16 | 24 | 32 => arguments[(step.k as usize - 16) / 8].cast_unsigned(),
                        other => panic!("it looks at {other}"),
                    };
                }
                0x54 => value &= step.k,
                // Go on there.
                0x05 => at += step.k as usize,
                // If equal.
                0x15 => at += usize::from(if value == step.k { step.jt } else { step.jf }),
                // The end.
                0x06 => return step.k,
                other => panic!("an instruction that was not expected: {other:#x}"),
            }
        }
    }

    #[test]
    fn every_call_is_refused_on_every_architecture_and_others_are_not() {
        for (arch, audit) in AUDIT {
            let program = filter(arch).unwrap();
            let numbers = |call: &Call| if arch == TargetArch::x86_64 { call.1 } else { call.2 };
            for call in REFUSED {
                let found = verdict(&program, audit, numbers(call));
                assert_eq!(found, REFUSED_CALL, "{arch:?} {}", call.0);
            }
            let refused: Vec<i64> = REFUSED.iter().map(numbers).collect();
            let more = (0..600).filter(|number| verdict(&program, audit, *number) == REFUSED_CALL);
            assert_eq!(more.count(), refused.len(), "{arch:?}");
            for other in AUDIT.iter().map(|(_, audit)| *audit).chain([AUDIT_I386, AUDIT_ARM]) {
                if other != audit {
                    assert_eq!(verdict(&program, other, 0), KILLED, "{arch:?} {other:#x}");
                }
            }
        }
    }

    /// What a fetch cannot do without: read, write, openat, mmap, socket, connect, clone, exit_group, renameat2.
    #[test]
    fn what_a_fetch_needs_is_allowed() {
        for (arch, calls) in [
            (TargetArch::x86_64, [0, 1, 257, 9, 41, 42, 56, 231, 316]),
            (TargetArch::aarch64, [63, 64, 56, 222, 198, 203, 220, 94, 276]),
        ] {
            let audit = AUDIT.iter().find(|(one, _)| *one == arch).unwrap().1;
            for call in calls {
                assert_eq!(verdict(&filter(arch).unwrap(), audit, call), ALLOWED, "{arch:?} {call}");
            }
        }
    }

    const fn number(call: Call, arch: TargetArch) -> i64 {
        if matches!(arch, TargetArch::x86_64) { call.1 } else { call.2 }
    }

    #[test]
    fn threads_can_be_made_and_other_views_of_the_system_cannot() {
        // As the C library makes threads and processes.
        let thread = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
        for (arch, audit) in AUDIT {
            let of_clone = |flags: i32| verdict_with(&filter(arch).unwrap(), audit, number(CLONE, arch), [flags, 0, 0]);
            assert_eq!(of_clone(thread | libc::CLONE_SETTLS), ALLOWED);
            assert_eq!(of_clone(libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD), ALLOWED);
            for view in VIEWS {
                assert_eq!(of_clone(view | libc::SIGCHLD), REFUSED_CALL, "{arch:?} {view:#x}");
                assert_eq!(of_clone(view | libc::CLONE_NEWUSER), REFUSED_CALL, "{arch:?} {view:#x}");
            }
            for call in numbers(CLONE3, arch) {
                assert_eq!(verdict(&absent(arch).unwrap(), audit, call), ABSENT, "{arch:?}");
            }
            assert_eq!(verdict(&absent(arch).unwrap(), audit, number(CLONE, arch)), ALLOWED, "{arch:?}");
        }
    }

    #[test]
    fn sockets_are_those_of_tcp_and_of_what_names_are_asked_with() {
        let (how, stream, datagram) = (libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, libc::SOCK_STREAM, libc::SOCK_DGRAM);
        let (tcp, udp, mptcp) = (libc::IPPROTO_TCP, libc::IPPROTO_UDP, 262);
        for (arch, audit) in AUDIT {
            let program = filter(arch).unwrap();
            for call in numbers(SOCKET, arch) {
                let verdict = |arguments| verdict_with(&program, audit, call, arguments);
                for family in [libc::AF_INET, libc::AF_INET6] {
                    for good in [[stream, 0], [stream | how, tcp], [datagram | how, 0], [datagram, udp]] {
                        assert_eq!(verdict([family, good[0], good[1]]), ALLOWED, "{arch:?} {good:?}");
                    }
                    for bad in [[stream, mptcp], [datagram, 1], [stream | how, 132], [3 | how, 255], [3, udp], [5, 0]] {
                        assert_eq!(verdict([family, bad[0], bad[1]]), REFUSED_CALL, "{arch:?} {bad:?}");
                    }
                }
                // unix, netlink, packet, alg, vsock, and any other.
                for family in [0, 1, 16, 17, 38, 40, 43, 44, i32::MAX, -1] {
                    assert_eq!(verdict([family, stream, 0]), REFUSED_CALL, "{arch:?} {family}");
                }
            }
        }
    }

    #[test]
    fn the_x32_form_is_no_way_around() {
        let program = filter(TargetArch::x86_64).unwrap();
        for call in REFUSED.iter().map(|(_, number, _)| *number).chain(REFUSED_X32) {
            assert_eq!(verdict(&program, AUDIT[0].1, call | X32), REFUSED_CALL, "{call}");
        }
        assert_eq!(verdict(&program, AUDIT[0].1, X32), ALLOWED, "read");
    }

    /// The numbers of the machine that this runs on are those of its C library.
    #[test]
    fn the_numbers_are_those_of_the_c_library() {
        let known = [
            ("execve", libc::SYS_execve),
            ("execveat", libc::SYS_execveat),
            ("ptrace", libc::SYS_ptrace),
            ("process_vm_readv", libc::SYS_process_vm_readv),
            ("process_vm_writev", libc::SYS_process_vm_writev),
            ("pidfd_getfd", libc::SYS_pidfd_getfd),
            ("kcmp", libc::SYS_kcmp),
            ("mount", libc::SYS_mount),
            ("umount2", libc::SYS_umount2),
            ("move_mount", libc::SYS_move_mount),
            ("open_tree", libc::SYS_open_tree),
            ("fsopen", libc::SYS_fsopen),
            ("fsconfig", libc::SYS_fsconfig),
            ("fsmount", libc::SYS_fsmount),
            ("fspick", libc::SYS_fspick),
            ("mount_setattr", libc::SYS_mount_setattr),
            ("pivot_root", libc::SYS_pivot_root),
            ("chroot", libc::SYS_chroot),
            ("unshare", libc::SYS_unshare),
            ("setns", libc::SYS_setns),
            ("bpf", libc::SYS_bpf),
            ("perf_event_open", libc::SYS_perf_event_open),
            ("userfaultfd", libc::SYS_userfaultfd),
            ("io_uring_setup", libc::SYS_io_uring_setup),
            ("io_uring_enter", libc::SYS_io_uring_enter),
            ("io_uring_register", libc::SYS_io_uring_register),
            ("add_key", libc::SYS_add_key),
            ("request_key", libc::SYS_request_key),
            ("keyctl", libc::SYS_keyctl),
            ("init_module", libc::SYS_init_module),
            ("finit_module", libc::SYS_finit_module),
            ("delete_module", libc::SYS_delete_module),
            ("kexec_load", libc::SYS_kexec_load),
            ("open_by_handle_at", libc::SYS_open_by_handle_at),
            ("listen", libc::SYS_listen),
            ("accept", libc::SYS_accept),
            ("accept4", libc::SYS_accept4),
        ];
        assert_eq!(known.len() + 1, REFUSED.len(), "kexec_file_load is not known for all of them");
        let others = [("clone", libc::SYS_clone), ("clone3", libc::SYS_clone3), ("socket", libc::SYS_socket)];
        for (name, number) in known.into_iter().chain(others) {
            let call = REFUSED.iter().chain(&[CLONE, CLONE3, SOCKET]).find(|call| call.0 == name).unwrap();
            let ours = if cfg!(target_arch = "x86_64") { call.1 } else { call.2 };
            assert_eq!(ours, number, "{name}");
        }
    }

    /// As on any machine that has no table here.
    #[test]
    fn another_architecture_has_no_filter() {
        for arch in ["powerpc64", "s390x", "loongarch64", "arm", "x86"] {
            assert!(TargetArch::try_from(arch).is_err(), "{arch}");
        }
    }
}
