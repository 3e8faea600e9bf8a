//! What allowed-signers files, lists of keys and keyrings become in a trust file.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the modules of fixtures are shared")]

mod memory;
mod support;

use jiff::tz::TimeZone;
use manifest::Digest;
use memory::{BASE, at, person, policy};
use support::{Bench, gpg::Gpg};
use trust::{
    AllowedSigners, ImportTerms, ImportedSigners, NewKeyMaterial, PrincipalKind, TrustEditor, TrustFile, key_list,
    openpgp::{Certificate, split_keyring},
};

fn file() -> TrustFile {
    TrustFile::parse(policy(1, &[]).as_bytes()).unwrap()
}

fn signers(lines: &[String], terms: &ImportTerms) -> ImportedSigners {
    let zone = TimeZone::posix("CET-1").unwrap();
    file().import_signers(&AllowedSigners::parse_in(&lines.concat(), &zone).unwrap(), terms)
}

/// Who would be added, with how many keys.
fn people(imported: &ImportedSigners) -> Vec<(&str, usize)> {
    imported.people.iter().map(|one| (one.name.as_str(), one.keys.len())).collect()
}

/// What is imported makes a file that is read.
fn written(imported: &ImportedSigners) -> TrustFile {
    let mut editor = TrustEditor::open(&policy(1, &[])).unwrap();
    for ca in &imported.authorities {
        editor.add_authority(&ca.name, &ca.key, &ca.principals, "24h").unwrap();
    }
    editor.add(&imported.people).unwrap();
    editor.finish(Some(1), at(BASE)).unwrap().1
}

#[test]
fn allowed_signers_become_principals() {
    let key = |name: &str| person(name).public();
    let lines = [
        format!("zoe@example.com {}\n", key("zoe")),
        format!("zoe@example.com valid-after=\"20260101\",valid-before=\"20270101Z\" {}\n", key("zoe-laptop")),
        format!("zoe@example.org {}\n", key("other-zoe")),
        format!("*@example.com {}\n", key("anybody")),
        format!("yan@example.com namespaces=\"file\" {}\n", key("yan")),
        format!("bob@example.com {}\n", key("bob")),
        format!("alice@example.com {}\n", key("alice-at-home")),
        format!("*.example.com,xi@example.com cert-authority {}\n", key("office")),
    ];
    let imported = signers(&lines, &ImportTerms::default());
    assert_eq!(
        people(&imported),
        [("zoe", 2), ("zoe-example.org", 1), ("alice-example.com", 1), ("xi", 1)],
        "{imported:?}"
    );
    assert_eq!(imported.renamed["alice@example.com"], "alice-example.com");
    let left: Vec<&str> = imported.left_out.iter().map(|one| one.rsplit(": ").next().unwrap()).collect();
    assert_eq!(
        left,
        [
            "*@example.com is nobody in particular",
            "its namespaces do not hold git",
            "it is there already, as one of bob"
        ]
    );
    let read = written(&imported);
    let window = &read.principals["zoe"].keys[1];
    // A time without a zone is in the one that is given.
    assert_eq!(window.not_before.unwrap().to_string(), "2025-12-31T23:00:00Z");
    assert_eq!(window.not_after.unwrap().to_string(), "2027-01-01T00:00:00Z");
    let certified = &read.principals["xi"].certificates[0];
    assert_eq!((certified.ca.as_str(), certified.principal.as_str()), ("ca-1", "xi@example.com"));
    assert_eq!(read.authorities["ca-1"].principals, "*.example.com,xi@example.com");
    assert_eq!(read.principals["zoe"].kind, PrincipalKind::Human);
}

#[test]
fn a_name_that_is_given_is_taken() {
    let lines = [format!("*@example.com {}\n", person("anybody").public())];
    let terms = ImportTerms { name: Some("alice".to_owned()), roles: vec!["sre".to_owned()], ..ImportTerms::default() };
    let imported = signers(&lines, &terms);
    assert_eq!(people(&imported), [("alice", 1)]);
    let read = written(&imported);
    assert_eq!(read.principals["alice"].keys.len(), 2);
    assert!(read.roles["sre"].contains("alice"));
    let list = format!("# of GitHub\n{}\n\n{} laptop\n", person("one").public(), person("two").public());
    let keys = key_list(&list).unwrap();
    assert_eq!(people(&file().import_keys("zoe", &keys, &ImportTerms::default())), [("zoe", 2)]);
    assert_eq!(key_list(&format!("{list}nonsense\n")).unwrap_err().line, 5);
}

#[test]
fn a_keyring_becomes_certificates_of_their_holders() {
    let bench = Bench::new();
    let gpg = Gpg::new(&bench, "gpg");
    let [zoe, yan] = ["Zoe <zoe@example.com>", "yan"].map(|name| gpg.key(name, "ed25519", "sign", "never"));
    let keyring = [gpg.export(&zoe), gpg.export(&yan)].concat();
    let files = split_keyring(&keyring).unwrap();
    let found: Vec<_> = files.iter().map(|one| Certificate::parse(one.as_bytes()).unwrap()).collect();
    assert_eq!(found, [gpg.certificate(&zoe), gpg.certificate(&yan)]);
    let to_import: Vec<_> =
        found.iter().zip(&files).map(|(one, file)| one.to_import(Digest::of(file.as_bytes()))).collect();
    let imported = file().import_certificates(&to_import, &ImportTerms::default());
    assert_eq!(people(&imported), [("zoe", 1), ("yan", 1)]);
    let NewKeyMaterial::OpenPgp { file: path, .. } = &imported.people[0].keys[0].material else { unreachable!() };
    assert_eq!(path.as_str(), format!(".writ/keys/zoe-{}.asc", zoe.get(24..).unwrap()));
    let mut read = written(&imported);
    assert!(read.ailing_certificates(at(BASE), at(BASE)).is_empty());
    let here = std::iter::once((path.clone(), files[0].clone().into_bytes())).collect();
    // What is loaded is what is pinned; what is not there is named with its place.
    let missing = read.load_from(&here);
    assert_eq!(missing.len(), 1);
    assert!(missing[0].to_string().contains("/trust.yaml:"), "{}", missing[0]);
    assert!(missing[0].found.contains(".writ/keys/yan-") && missing[0].found.ends_with("is not there"), "{missing:?}");
    assert!(read.ailing_certificates(at(BASE), at(BASE)).is_empty());
}
