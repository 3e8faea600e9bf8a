//! `writ trust import`: who signs, or what is revoked, from the files of other tools.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;
use manifest::Digest;
use trust::{
    AllowedSigners, ImportTerms, ImportedSigners, MAX_ALLOWED_SIGNERS_BYTES, MAX_REVOCATIONS_BYTES, NewKeyMaterial,
    certificate_path, key_list,
    openpgp::{Certificate, MAX_KEYRING_BYTES, split_keyring},
};

use crate::{
    exit::{Outcome, UsageError},
    input, output,
    trust_keys::KindArg,
    trust_revoke::revoke_all,
    trust_tree::{Edit, EditArgs, WorkTree, concluded},
};

/// How a key revocation list begins.
const KRL: &[u8] = b"SSHKRL\n\0";
/// How an armoured certificate begins.
const PGP: &[u8] = b"-----BEGIN PGP ";

/// Arguments of `writ trust import`.
#[derive(Debug, Args)]
pub(crate) struct TrustImportArgs {
    /// The file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What the file is; default: what it looks like. A list of keys that are revoked has to be called that.
    #[arg(long = "as", value_enum, value_name = "WHAT")]
    what: Option<FileKind>,
    /// Whose keys they are, whatever the file says; needed for a list of keys.
    #[arg(long, value_name = "NAME")]
    principal: Option<String>,
    /// What the principals are; default: people.
    #[arg(long, value_enum)]
    kind: Option<KindArg>,
    /// A role that they get. Repeat for more.
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// The time zone of times in an allowed-signers file that have no `Z` at their end, as with `writ verify`.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = crate::signatures::zone)]
    timezone: TimeZone,
    /// For how long certificates of the authorities of an allowed-signers file may be valid.
    #[arg(long, value_name = "TIME", default_value = "24h")]
    max_validity: String,
    /// Why, for revocations.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    common: EditArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FileKind {
    /// Allowed signers of OpenSSH.
    Signers,
    /// Public SSH keys, one in each line, as `https://github.com/NAME.keys` gives.
    Keys,
    /// OpenPGP certificates, as `gpg --armor --export` prints them.
    Openpgp,
    /// A key revocation list of OpenSSH, or public keys that are revoked.
    Revocations,
}

impl FileKind {
    /// What a file looks like.
    fn of(bytes: &[u8]) -> Self {
        if bytes.starts_with(KRL) {
            return Self::Revocations;
        }
        // The first byte of an OpenPGP packet has its top bit set, that of a text has not.
        if bytes.first().is_some_and(|first| first & 0x80 != 0) || bytes.trim_ascii_start().starts_with(PGP) {
            return Self::Openpgp;
        }
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let is_key = |line: &str| {
            let name = line.split(' ').next().unwrap_or_default();
            ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"].iter().any(|prefix| name.starts_with(prefix))
        };
        if lines.next().is_some_and(is_key) { Self::Keys } else { Self::Signers }
    }
}

/// Runs `writ trust import`.
pub(crate) fn run(args: &TrustImportArgs) -> anyhow::Result<Outcome> {
    concluded(args.common.output, import(args))
}

fn import(args: &TrustImportArgs) -> anyhow::Result<Outcome> {
    let bytes = input::bytes(&args.file, MAX_KEYRING_BYTES)?;
    let tree = WorkTree::open(&args.common)?;
    let mut edit = tree.edit()?;
    let terms = ImportTerms { name: args.principal.clone(), kind: args.kind.map(Into::into), roles: args.role.clone() };
    let cannot_use = || format!("cannot use {}", args.file.display());
    let imported = match args.what.unwrap_or_else(|| FileKind::of(&bytes)) {
        FileKind::Revocations if args.principal.is_some() || args.kind.is_some() || !args.role.is_empty() => {
            return Err(
                UsageError("--principal, --kind and --role are for signers, not for revocations".to_owned()).into()
            );
        }
        FileKind::Revocations => {
            within(&bytes, MAX_REVOCATIONS_BYTES)?;
            revoke_all(&mut edit, &bytes, args.reason.as_deref()).with_context(cannot_use)?;
            ImportedSigners::default()
        }
        FileKind::Signers => {
            within(&bytes, MAX_ALLOWED_SIGNERS_BYTES)?;
            let text = std::str::from_utf8(&bytes).with_context(cannot_use)?;
            let signers = AllowedSigners::parse_in(text, &args.timezone).with_context(cannot_use)?;
            edit.editor.file().import_signers(&signers, &terms)
        }
        FileKind::Keys => {
            let Some(name) = &args.principal else {
                return Err(
                    UsageError("a list of keys does not say whose they are: --principal NAME".to_owned()).into()
                );
            };
            within(&bytes, MAX_ALLOWED_SIGNERS_BYTES)?;
            let keys = key_list(std::str::from_utf8(&bytes).with_context(cannot_use)?).with_context(cannot_use)?;
            edit.editor.file().import_keys(name, &keys, &terms)
        }
        FileKind::Openpgp => certificates(&mut edit, &bytes, &terms).with_context(cannot_use)?,
    };
    take(&mut edit, imported, &args.max_validity)?;
    if edit.done.is_empty() {
        return tree.unchanged(&edit, args.common.output);
    }
    tree.finish(edit, args.common.output)
}

fn within(bytes: &[u8], limit: usize) -> anyhow::Result<()> {
    if bytes.len() > limit {
        bail!("the file is larger than {limit} bytes");
    }
    Ok(())
}

/// The holders of certificates, and the files of those that are taken.
fn certificates(edit: &mut Edit, bytes: &[u8], terms: &ImportTerms) -> anyhow::Result<ImportedSigners> {
    let files = split_keyring(bytes)?;
    let mut found = Vec::new();
    for text in &files {
        found.push(Certificate::parse(text.as_bytes())?.to_import(Digest::of(text.as_bytes())));
    }
    let imported = edit.editor.file().import_certificates(&found, terms);
    for one in &imported.people {
        for key in &one.keys {
            if let NewKeyMaterial::OpenPgp { fingerprint, .. } = &key.material
                && let Some(index) = found.iter().position(|certificate| certificate.fingerprint == *fingerprint)
                && let Some(text) = files.get(index)
            {
                edit.files.insert(certificate_path(fingerprint, &one.name), text.clone().into_bytes());
            }
        }
    }
    Ok(imported)
}

/// Adds what is imported, and tells what is not.
fn take(edit: &mut Edit, imported: ImportedSigners, max_validity: &str) -> anyhow::Result<()> {
    for ca in &imported.authorities {
        edit.editor.add_authority(&ca.name, &ca.key, &ca.principals, max_validity)?;
        edit.done.push(format!(
            "added the authority {} ({}) as {}",
            ca.key.fingerprint(),
            ca.principals.join(","),
            ca.name
        ));
    }
    if !imported.people.is_empty() {
        edit.editor.add(&imported.people)?;
    }
    for one in &imported.people {
        for key in &one.keys {
            let shown = key.fingerprint().map_or_else(|| "a certificate".to_owned(), |key| key.to_string());
            edit.done.push(format!("added {shown} as a key of {}", one.name));
        }
    }
    let renamed = imported.renamed.iter().map(|(called, name)| format!("{called} is {name} in the trust file"));
    edit.notes.extend(renamed.chain(imported.left_out).map(|note| output::printable(&note)));
    Ok(())
}
