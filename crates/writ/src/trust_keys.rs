//! `writ trust add`, `remove` and `rotate`: who is in the trust file, and with which keys.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueEnum};
use jiff::Timestamp;
use trust::{
    KeyFingerprint, KeylessIdentity, NewKey, NewKeyMaterial, NewPrincipal, Principal, PrincipalKind, TrustFile,
    UserCheck, UserPresence,
};

use crate::{
    exit::{Outcome, UsageError},
    key_argument::{certificate, instant, ssh_key},
    trust_tree::{Edit, EditArgs, WorkTree, concluded, repo_option},
};

/// Arguments of `writ trust add`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["key", "openpgp", "certificate", "keyless", "role"]))]
pub(crate) struct TrustAddArgs {
    /// The principal, who may be there already.
    #[arg(value_name = "PRINCIPAL")]
    principal: String,
    /// An SSH key: a file such as `id_ed25519.pub`, or its text. Repeat for more.
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// An OpenPGP certificate, as `gpg --armor --export` prints it; it is copied to `.writ/keys/`. Repeat for more.
    #[arg(long, value_name = "FILE")]
    openpgp: Vec<PathBuf>,
    /// An authority of the trust file and what its SSH certificates call the principal: `office=carol@example.com`.
    #[arg(long, value_name = "CA=NAME")]
    certificate: Vec<String>,
    /// An account, for keyless signatures (gitsign): the address of the identity provider, then the e-mail address or URI that
    /// its certificates are for, both exact.
    #[arg(long, num_args = 2, value_names = ["ISSUER", "IDENTITY"])]
    keyless: Vec<String>,
    /// What the principal is; default: a person.
    #[arg(long, value_enum)]
    kind: Option<KindArg>,
    /// A role that the principal gets. Repeat for more.
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    #[command(flatten)]
    terms: KeyTerms,
    #[command(flatten)]
    common: EditArgs,
}

/// When a key counts, and what it has to prove.
#[derive(Debug, Args)]
struct KeyTerms {
    /// When the keys begin (a date or RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = instant)]
    not_before: Option<Timestamp>,
    /// When the keys end (a date or RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = instant)]
    not_after: Option<Timestamp>,
    /// Whether the token of a security key must have been touched; default: yes.
    #[arg(long, value_enum)]
    user_presence: Option<PresenceArg>,
    /// A security key must ask for a PIN or a fingerprint.
    #[arg(long)]
    user_verification: bool,
}

/// What a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KindArg {
    /// A person.
    Human,
    /// A machine.
    Robot,
    /// A server that signs for whoever presses its buttons.
    Forge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PresenceArg {
    /// It must, so that only security keys can sign.
    Required,
    /// It need not.
    NotRequired,
}

impl From<KindArg> for PrincipalKind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Human => Self::Human,
            KindArg::Robot => Self::Robot,
            KindArg::Forge => Self::Forge,
        }
    }
}

/// Arguments of `writ trust remove`.
#[derive(Debug, Args)]
pub(crate) struct TrustRemoveArgs {
    /// The principal.
    #[arg(value_name = "PRINCIPAL")]
    principal: String,
    /// Take out this key alone, by its fingerprint.
    #[arg(long, value_name = "FINGERPRINT")]
    key: Option<KeyFingerprint>,
    #[command(flatten)]
    common: EditArgs,
}

/// Arguments of `writ trust rotate`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("step").required(true).args(["new", "openpgp", "drop"]))]
pub(crate) struct TrustRotateArgs {
    /// The principal.
    #[arg(value_name = "PRINCIPAL")]
    principal: String,
    /// The key that goes, by its fingerprint.
    #[arg(long, value_name = "FINGERPRINT")]
    old: KeyFingerprint,
    /// First step: the SSH key that comes, a file or its text.
    #[arg(long, value_name = "KEY")]
    new: Option<String>,
    /// First step: the OpenPGP certificate that comes.
    #[arg(long, value_name = "FILE")]
    openpgp: Option<PathBuf>,
    /// Second step, once the first is accepted: the old key goes.
    #[arg(long)]
    drop: bool,
    #[command(flatten)]
    terms: KeyTerms,
    #[command(flatten)]
    common: EditArgs,
}

/// Runs `writ trust add`.
pub(crate) fn add(args: &TrustAddArgs) -> anyhow::Result<Outcome> {
    concluded(args.common.output, try_add(args))
}

fn try_add(args: &TrustAddArgs) -> anyhow::Result<Outcome> {
    let tree = WorkTree::open(&args.common)?;
    let mut edit = tree.edit()?;
    let mut keys = Vec::new();
    for key in &args.key {
        keys.push(args.terms.key(NewKeyMaterial::Ssh(ssh_key(key)?)));
    }
    for file in &args.openpgp {
        keys.push(args.terms.key(pinned(&mut edit, file, &args.principal)?));
    }
    for claim in &args.certificate {
        let Some((ca, principal)) = claim.split_once('=') else {
            return Err(UsageError(format!("--certificate {claim:?} is not of the form CA=NAME")).into());
        };
        let material = NewKeyMaterial::Certified { ca: ca.to_owned(), principal: principal.to_owned() };
        keys.push(args.terms.key(material));
    }
    for account in args.keyless.chunks_exact(2) {
        let [issuer, identity] = account else { continue };
        let account = KeylessIdentity { issuer: issuer.clone(), identity: identity.clone() };
        keys.push(args.terms.key(NewKeyMaterial::Keyless(account)));
    }
    let is_there = edit.editor.file().principals.contains_key(&args.principal);
    if keys.is_empty() && !is_there {
        return Err(UsageError(format!("{} is no principal yet: give a key", args.principal)).into());
    }
    for key in &keys {
        let shown = key.fingerprint().map_or_else(|| "a certificate".to_owned(), |key| key.to_string());
        edit.done.push(format!("added {shown} as a key of {}", args.principal));
    }
    for role in &args.role {
        edit.done.push(format!("{} has the role {role}", args.principal));
    }
    let kind = args.kind.map(PrincipalKind::from);
    let new = NewPrincipal { name: args.principal.clone(), kind, roles: args.role.clone(), keys };
    edit.editor.add(&[new])?;
    tree.finish(edit, args.common.output)
}

/// A certificate, with the file that will hold it.
fn pinned(edit: &mut Edit, file: &Path, name: &str) -> anyhow::Result<NewKeyMaterial> {
    let (material, bytes) = certificate(file, name)?;
    if let NewKeyMaterial::OpenPgp { file, .. } = &material {
        edit.done.push(format!("copied the certificate to {file}"));
        edit.files.insert(file.clone(), bytes);
    }
    Ok(material)
}

impl KeyTerms {
    fn key(&self, material: NewKeyMaterial) -> NewKey {
        let presence = match self.user_presence {
            None => UserPresence::OfSecurityKeys,
            Some(PresenceArg::Required) => UserPresence::Required,
            Some(PresenceArg::NotRequired) => UserPresence::NotRequired,
        };
        let user = UserCheck { presence, verification: self.user_verification };
        NewKey { material, not_before: self.not_before, not_after: self.not_after, user }
    }
}

/// Runs `writ trust remove`.
pub(crate) fn remove(args: &TrustRemoveArgs) -> anyhow::Result<Outcome> {
    concluded(args.common.output, try_remove(args))
}

fn try_remove(args: &TrustRemoveArgs) -> anyhow::Result<Outcome> {
    let tree = WorkTree::open(&args.common)?;
    let mut edit = tree.edit()?;
    match args.key {
        None => {
            edit.editor.remove(&args.principal)?;
            edit.done.push(format!("removed {}", args.principal));
        }
        Some(key) => {
            edit.editor.remove_key(&args.principal, key)?;
            edit.done.push(format!("removed key {key} of {}", args.principal));
        }
    }
    // What was accepted of them stays so; that is what people forget.
    edit.notes.push("what was signed before stays accepted; a stolen key is revoked: writ trust revoke".to_owned());
    tree.finish(edit, args.common.output)
}

/// Runs `writ trust rotate`.
pub(crate) fn rotate(args: &TrustRotateArgs) -> anyhow::Result<Outcome> {
    concluded(args.common.output, try_rotate(args))
}

fn try_rotate(args: &TrustRotateArgs) -> anyhow::Result<Outcome> {
    let tree = WorkTree::open(&args.common)?;
    let mut edit = tree.edit()?;
    let name = &args.principal;
    if !has_key(edit.editor.file(), name, args.old) {
        return Err(UsageError(format!("{name} has no key {}", args.old)).into());
    }
    if args.drop {
        // Nobody can sign with a key that no accepted file names yet.
        let other = |before: &TrustFile| fingerprints(before, name).iter().any(|key| *key != args.old);
        if tree.before.as_ref().is_some_and(|before| !other(before)) {
            let message =
                format!("the new key of {name} is not in the file in force yet: commit the first step before");
            return Err(UsageError(message).into());
        }
        edit.editor.remove_key(name, args.old)?;
        edit.done.push(format!("removed key {} of {name}", args.old));
        return tree.finish(edit, args.common.output);
    }
    let material = match (&args.new, &args.openpgp) {
        (Some(key), _) => NewKeyMaterial::Ssh(ssh_key(key)?),
        (None, Some(file)) => pinned(&mut edit, file, name)?,
        (None, None) => return Err(UsageError("give the new key".to_owned()).into()),
    };
    let key = args.terms.key(material);
    let shown = key.fingerprint().map_or_else(String::new, |key| key.to_string());
    edit.editor.add(&[NewPrincipal { name: name.clone(), kind: None, roles: Vec::new(), keys: vec![key] }])?;
    edit.done.push(format!("added {shown} as a key of {name}"));
    let option = repo_option(&args.common.repo);
    edit.notes.push(format!(
        "once that is accepted, the second step: writ trust rotate{option} {name} --old {} --drop",
        args.old
    ));
    tree.finish(edit, args.common.output)
}

fn has_key(file: &TrustFile, name: &str, key: KeyFingerprint) -> bool {
    fingerprints(file, name).contains(&key)
}

/// The keys of a principal.
fn fingerprints(file: &TrustFile, name: &str) -> Vec<KeyFingerprint> {
    let of = |one: &Principal| {
        let ssh = one.keys.iter().map(|held| KeyFingerprint::Ssh(held.key.fingerprint()));
        let openpgp = one.pinned.iter().map(|pin| KeyFingerprint::OpenPgp(pin.fingerprint));
        let keyless = one.keyless.iter().map(|key| KeyFingerprint::Keyless(key.signer.fingerprint()));
        ssh.chain(openpgp).chain(keyless).collect()
    };
    file.principals.get(name).map(of).unwrap_or_default()
}
