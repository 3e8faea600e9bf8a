//! `writ audit key`: a key pair for a new log.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use audit::LogKey;

use crate::{cli::AuditKeyArgs, exit::Outcome, output};

/// A folder made for the private key: nobody but its owner.
const FOLDER: u32 = 0o700;
/// The private key: likewise.
const PRIVATE: u32 = 0o600;
/// The public key: anybody.
const PUBLIC: u32 = 0o644;

/// Runs `writ audit key`: writes `key` and `key.pub`, prints the public key.
pub(crate) fn run(args: &AuditKeyArgs) -> anyhow::Result<Outcome> {
    let key = LogKey::generate(&args.name).with_context(|| format!("cannot make a key named {:?}", args.name))?;
    let (private, public) = (args.dir.join("key"), args.dir.join("key.pub"));
    let mut folder = DirBuilder::new();
    folder
        .recursive(true)
        .mode(FOLDER)
        .create(&args.dir)
        .with_context(|| format!("cannot create {}", args.dir.display()))?;
    // The public key first: a private key that nobody can verify by is worse than none.
    write_new(&public, PUBLIC, &format!("{}\n", key.public()))?;
    write_new(&private, PRIVATE, &format!("{}\n", key.expose()))?;
    eprintln!("wrote {} (keep it secret) and {}; next:", private.display(), public.display());
    eprintln!("  kubectl -n writ-system create secret generic writ-log-key --from-file=key={}", quoted(&private));
    output::text(&format!("{}\n", key.public()))?;
    Ok(Outcome::Fine)
}

/// Writes a file that must not be there yet.
fn write_new(file: &PathBuf, mode: u32, text: &str) -> anyhow::Result<()> {
    let cannot = || format!("cannot create {}", file.display());
    let mut opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(file).with_context(cannot)?;
    opened.write_all(text.as_bytes()).and_then(|()| opened.sync_all()).with_context(cannot)
}

/// A path for a shell.
pub(crate) fn quoted(file: &Path) -> String {
    crate::trust_init::quote(&file.display().to_string())
}
