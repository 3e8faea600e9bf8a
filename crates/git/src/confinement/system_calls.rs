//! The system calls that a fetch child may no longer make, for every architecture whose numbers are known here. On another
//! one none is refused, and that is told; files and network are out of reach there all the same.

use std::{collections::BTreeMap, env};

use seccompiler::{BackendError, BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

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
/// Set in the number of a system call that comes in the x32 form, which kernels for x86-64 may know.
const X32: i64 = 0x4000_0000;
/// Those of them that have numbers of their own in that form: execve, ptrace, kexec_load, process_vm_readv and writev,
/// execveat.
const REFUSED_X32: [i64; 6] = [520, 521, 528, 539, 540, 545];

/// Refuses them in this process from here on. Returns whether the kernel takes the filter: one without seccomp, or that has
/// been told to allow none, does not.
pub(super) fn refuse() -> bool {
    let arch = TargetArch::try_from(env::consts::ARCH);
    arch.and_then(filter).is_ok_and(|program| apply_filter(&program).is_ok())
}

/// The filter for an architecture. A system call that comes in the form of another one ends the process.
fn filter(arch: TargetArch) -> Result<BpfProgram, BackendError> {
    let numbers: Vec<i64> = match arch {
        TargetArch::x86_64 => {
            let native = || REFUSED.iter().map(|(_, number, _)| *number);
            native().chain(native().chain(REFUSED_X32).map(|number| number | X32)).collect()
        }
        TargetArch::aarch64 | TargetArch::riscv64 => REFUSED.iter().map(|(_, _, number)| *number).collect(),
    };
    let rules: BTreeMap<_, _> = numbers.into_iter().map(|number| (number, Vec::new())).collect();
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, refused, arch).and_then(BpfProgram::try_from)
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

    /// What the kernel does with a call: the program runs over its number and architecture.
    fn verdict(program: &BpfProgram, audit: u32, number: i64) -> u32 {
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
                        other => panic!("it looks at {other}"),
                    };
                }
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
        for (name, number) in known {
            let call = REFUSED.iter().find(|call| call.0 == name).unwrap();
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
