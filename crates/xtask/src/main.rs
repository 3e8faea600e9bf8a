//! Development only: the repository's own commands, `cargo xtask COMMAND`.

mod bench;
mod command;
mod controlplane;
mod demo;
mod fuzz;
mod generate;
mod layers;
mod lint;
mod process;
mod progress;
mod stage;
mod summary;
mod test;
mod tools;
mod workspace;

use std::process::ExitCode;

fn main() -> ExitCode {
    match command::parse_and_run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
