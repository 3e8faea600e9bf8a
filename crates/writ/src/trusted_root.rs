//! By what a command verifies keyless signatures.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use evidence::KeylessSignatures;
use trust::MAX_TRUSTED_ROOT_BYTES;

use crate::input;

/// The trust root of keyless signatures.
#[derive(Debug, Clone, Args)]
pub(crate) struct TrustedRoot {
    /// The trusted_root.json by which keyless signatures are verified; default: that of the public Sigstore, built in.
    #[arg(long, value_name = "FILE")]
    trusted_root: Option<PathBuf>,
}

impl TrustedRoot {
    /// What verifies by it.
    pub(crate) fn verifier(&self) -> anyhow::Result<KeylessSignatures> {
        verifier(self.trusted_root.as_deref())
    }
}

/// What verifies by a file, or by what is built in.
pub(crate) fn verifier(file: Option<&Path>) -> anyhow::Result<KeylessSignatures> {
    let Some(file) = file else { return Ok(KeylessSignatures::of(None)?) };
    let text = input::text(file, MAX_TRUSTED_ROOT_BYTES)?;
    KeylessSignatures::by(&text).with_context(|| format!("cannot use {}", file.display()))
}
