//! One signed commit and what parsers make of it: the real `git verify-commit` beside ours.

#![expect(clippy::disallowed_macros, reason = "a table is for people too: `--nocapture` shows it")]

mod support;

use manifest::Finding;
use support::{
    Bench, KEY_TYPES, Repository,
    gpg::Gpg,
    mutants::{edit, mutants, signature_header},
    parse, tables_are_of_these_tools,
};
use trust::{AllowedSigners, KnownSigners, Signer, verify_signature_only};

const REFUSED: bool = false;
const ACCEPTED: bool = true;

/// Mutant · what git 2.39 and 2.47 say of it, signed by SSH and by OpenPGP · what writ says.
const TABLE: [(&str, [bool; 2], &str); 15] = [
    ("the commit itself", [ACCEPTED, ACCEPTED], "accepted"),
    ("an extra header gpgsigX", [ACCEPTED, ACCEPTED], "W102"),
    ("junk gpgsig-sha256 before", [ACCEPTED, ACCEPTED], "W102"),
    ("junk gpgsig-sha256 after", [ACCEPTED, ACCEPTED], "W102"),
    ("gpgsig twice", [ACCEPTED, REFUSED], "W102"),
    ("garbage second", [ACCEPTED, ACCEPTED], "W102"),
    ("garbage first", [REFUSED, REFUSED], "W102"),
    ("signature in the message", [REFUSED, REFUSED], "W301"),
    ("NUL and more after the message", [REFUSED, REFUSED], "W103"),
    ("a second tree, the attacker's first", [REFUSED, REFUSED], "W101"),
    ("a second tree, the attacker's second", [REFUSED, REFUSED], "W101"),
    ("a blank after the armour", [ACCEPTED, ACCEPTED], "W101"),
    ("gpgsig before author", [ACCEPTED, ACCEPTED], "W101"),
    ("an extra blank continuation line", [ACCEPTED, ACCEPTED], "W101"),
    // By a list of keys, as here; under a trust file W209 unless it says `dualSigned`.
    ("another signature of the key as gpgsig-sha256", [ACCEPTED, ACCEPTED], "accepted"),
];

fn verify(raw: &[u8], known: &KnownSigners) -> Result<Signer, Finding> {
    parse(raw).and_then(|commit| verify_signature_only(&commit, known))
}

/// Each row by ours exactly, and by git where it is one of those measured; another's word is printed, and what it refuses we never
/// accept.
fn check(format: &str, column: fn([bool; 2]) -> bool, repository: &Repository<'_>, known: &KnownSigners) {
    let good = repository.commit(&["-S", "-m", "signed"]).1;
    let mut commits = vec![("the commit itself", good.clone())];
    commits.extend(mutants(&good));
    let other =
        signature_header(&repository.commit(&["-S", "-m", "another"]).1).replacen("gpgsig ", "gpgsig-sha256 ", 1);
    let header = signature_header(&good);
    commits.push(("another signature of the key as gpgsig-sha256", edit(&good, &header, format!("{header}{other}"))));
    assert_eq!(commits.len(), TABLE.len());
    let exact = tables_are_of_these_tools();
    println!("{:<40} {:<8} {:<13} writ", format!("signed by {format}"), "git here", "git 2.39/2.47");
    for ((name, raw), (row, measured, expected)) in commits.iter().zip(TABLE) {
        assert_eq!(*name, row);
        assert!(*name == "the commit itself" || *raw != good, "{format}: {name} is the commit itself");
        let by_git = repository.git_verifies(&repository.plant(raw));
        let ours = verify(raw, known).map_or_else(|finding| finding.code.code, |_signer| "accepted");
        let word = |accepts: bool| if accepts { "accepts" } else { "refuses" };
        println!("{name:<40} {:<8} {:<13} {ours}", word(by_git), word(column(measured)));
        assert_eq!(ours, expected, "{format}: {name}");
        assert!(!exact || by_git == column(measured), "{format}: {name}: git says something else");
        assert!(by_git || ours != "accepted", "{format}: {name}: git refuses what we accept");
    }
}

#[test]
fn parser_table() {
    let bench = Bench::new();
    let key = bench.key("key", KEY_TYPES[0]);
    let repository = bench.repository("ssh", &key, "sha1");
    let signers = format!("alice {}\n", key.public);
    repository.allow(&signers);
    let allowed_signers = Some(AllowedSigners::parse(&signers).unwrap());
    check("SSH", |[ssh, _]| ssh, &repository, &KnownSigners { allowed_signers, ..KnownSigners::default() });

    let gpg = Gpg::new(&bench, "gpg");
    let key = gpg.key("alice", "ed25519", "sign", "never");
    check("OpenPGP", |[_, openpgp]| openpgp, &gpg.repository("openpgp", &key, "sha1"), &gpg.known());
}
