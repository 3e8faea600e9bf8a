//! Makes the seeds of the fuzz target `cms` anew, in the folder that is given: signatures of an account of a Sigstore that
//! exists for as long as this runs, over the bytes that the target asks about, and the trust root that names it. Keys are
//! never written; what is written would be public.
//!
//! `cargo run -p evidence --example cms_seeds tests/fuzz/seeds/cms`

use std::{error::Error, fs, path::PathBuf};

use testkit::{Account, Flaw, Sigstore};

/// What is signed.
const MESSAGE: &[u8] = b"message\n";

fn main() -> Result<(), Box<dyn Error>> {
    let folder: PathBuf = std::env::args_os().nth(1).ok_or("give the folder")?.into();
    let sigstore = Sigstore::generate("2026-01-01T00:00:00Z".parse()?)?;
    fs::write(folder.join("trusted_root.json"), sigstore.trusted_root()?)?;
    let account =
        Account { issuer: "https://accounts.example.com".to_owned(), identity: "carol@example.com".to_owned() };
    for (name, flaws) in [
        ("good", [].as_slice()),
        ("timestamp", &[Flaw::NoPromise, Flaw::Timestamp]),
        ("online", &[Flaw::Online]),
        ("two-signers", &[Flaw::TwoSigners]),
        ("two-certificates", &[Flaw::TwoCertificates]),
        ("mail", &[Flaw::Mail, Flaw::NoSct]),
    ] {
        let seed = sigstore.message(MESSAGE, &account, "2026-01-02T03:04:05Z".parse()?, flaws)?;
        fs::write(folder.join(name), seed)?;
    }
    Ok(())
}
