//! What a fetch child may still do, once it has its request: write into its mirror, read what names are looked up with, and
//! connect to one port. Beside the limits of what it may use, which are always there, these are what the kernel has.

mod system_calls;

use std::fmt;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope, make_bitflags,
    path_beneath_rules,
};
use serde::{Deserialize, Serialize};

/// What the C library looks names up with. Certificates and keys are in memory already.
const NAME_FILES: [&str; 5] =
    ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"];
/// The port of name servers: they are asked by TCP when an answer is too long for a datagram.
const NAME_PORT: u16 = 53;
/// What of it the kernel enforces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Confinement {
    /// No program that it would start has more rights than itself.
    pub no_new_privileges: bool,
    /// Files outside of its folder are out of reach (landlock, Linux 5.13).
    pub files: bool,
    /// TCP goes to one port and to name servers, and nothing listens (landlock, Linux 6.7).
    pub network: bool,
    /// Signals reach no other process (landlock, Linux 6.12).
    pub signals: bool,
    /// Programs cannot be started, and other system calls that no fetch makes fail (seccomp, where their numbers are known:
    /// x86-64, aarch64, riscv64).
    pub system_calls: bool,
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = [
            ("no new privileges", self.no_new_privileges),
            ("files", self.files),
            ("network", self.network),
            ("signals", self.signals),
            ("system calls", self.system_calls),
        ];
        let names = |wanted| {
            table
                .iter()
                .filter(|(_, enforced)| *enforced == wanted)
                .map(|(name, _)| *name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let (enforced, absent) = (names(true), names(false));
        write!(f, "confined in: {}", if enforced.is_empty() { "nothing" } else { &enforced })?;
        if absent.is_empty() { Ok(()) } else { write!(f, "; this system does not confine: {absent}") }
    }
}

/// Confines this process, which has one thread, to its working directory and to TCP connections to `port`. It stays so
/// until it ends. What the kernel does not have is left out, and told.
///
/// # Errors
/// What the kernel has, and refuses.
pub fn confine(port: Option<u16>) -> Result<Confinement, String> {
    let told = |what: &'static str| move |error: &dyn fmt::Display| format!("{what} cannot be restricted ({error})");
    let privileges = rustix::thread::set_no_new_privs(true);
    privileges.map_err(|error| told("privileges")(&error))?;
    let folder = PathFd::new(".").map_err(|error| told("files")(&error))?;
    let landlock = restrict(folder, port).map_err(|error| told("files and network")(&error))?;
    let enforced = landlock.ruleset != RulesetStatus::NotEnforced;
    let since = |wanted: ABI| match landlock.landlock {
        LandlockStatus::Available { effective_abi, .. } => enforced && effective_abi >= wanted,
        _ => false,
    };
    Ok(Confinement {
        no_new_privileges: true,
        files: since(ABI::V1),
        network: since(ABI::V4),
        signals: since(ABI::V6),
        system_calls: system_calls::refuse(),
    })
}

fn restrict(folder: PathFd, port: Option<u16>) -> Result<RestrictionStatus, RulesetError> {
    // No programs, devices, sockets or links to elsewhere.
    let inside: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
        ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer
    });
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V9))?
        .handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?
        .scope(Scope::from_all(ABI::V6))?
        .create()?
        .add_rule(PathBeneath::new(folder, inside))?
        .add_rules(path_beneath_rules(NAME_FILES, AccessFs::ReadFile))?;
    if let Some(port) = port {
        for port in [port, NAME_PORT] {
            rules = rules.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
        }
    }
    rules.restrict_self()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let mut confinement = Confinement::default();
        assert_eq!(
            confinement.to_string(),
            "confined in: nothing; this system does not confine: no new privileges, files, network, signals, system calls"
        );
        confinement.no_new_privileges = true;
        confinement.system_calls = true;
        let words =
            "confined in: no new privileges, system calls; this system does not confine: files, network, signals";
        assert_eq!(confinement.to_string(), words);
    }
}
