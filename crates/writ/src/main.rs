//! The `writ` binary: the TLS provider, arguments, exit status. Each command is a module beside
//! this file.

use std::process::ExitCode;

use clap::Parser as _;

mod audit_key;
mod audit_show;
mod audit_verify;
mod cli;
mod controller;
mod diff;
mod drift;
mod exit;
mod generate;
mod hook;
mod hook_install;
mod hook_push;
mod input;
mod key_argument;
mod orders;
mod output;
mod report;
mod signatures;
mod signing;
mod statement;
mod trust_approve;
mod trust_heartbeat;
mod trust_import;
mod trust_init;
mod trust_keys;
mod trust_lint;
mod trust_revoke;
mod trust_root;
mod trust_show;
mod trust_sign;
mod trust_tree;
mod trust_vouched;
mod trusted_root;
mod verify;

fn main() -> ExitCode {
    // Only the first call of a process can fail, by finding another one: any provider will do.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    match cli::Cli::try_parse() {
        Ok(cli) => cli.run(),
        Err(error) => exit::usage(&error),
    }
}
