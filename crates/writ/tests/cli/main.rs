//! The real binary, on repositories and logs made at run time.
#![expect(clippy::unwrap_used, clippy::string_slice, clippy::panic, reason = "a test may stop at the first surprise")]

mod all_formats;
mod audit_log;
mod bundles;
mod commands;
mod diff;
mod documented;
mod drift;
mod hooks;
mod keyless;
mod openpgp;
mod orders;
mod pasted;
mod pasted_trust;
mod signatures;
mod support;
mod trust_edits;
mod trust_files;
mod verify;
