//! `writ verify --signatures-only` on a repository that is signed in every format that stock tools and gitsign make.

use jiff::{Timestamp, ToSpan as _};
use testkit::{Account, Flaw, Gpg, KeyType, Keys, SignedRepo, Signing, Sigstore, allowed_signers};

use crate::support::{expect, json, text};

const ISSUER: &str = "https://accounts.example.com";

/// A commit whose payload `sign` signs, put on top of the branch.
fn commit(repo: &SignedRepo, name: &str, sign: impl FnOnce(&[u8]) -> String) -> String {
    repo.write(name, name).unwrap();
    repo.commit(Signing::Unsigned, name).unwrap();
    let payload = repo.read_object("commit", "HEAD").unwrap();
    let header = format!("\ngpgsig {}\n\n", sign(&payload).trim_end().replace('\n', "\n "));
    let raw = String::from_utf8(payload).unwrap().replacen("\n\n", &header, 1);
    let commit = repo.write_object("commit", raw.as_bytes()).unwrap();
    repo.reset(&commit).unwrap();
    commit
}

#[test]
fn a_line_for_each_of_all_formats() {
    let (keys, gpg, repo) = (Keys::new().unwrap(), Gpg::new().unwrap(), SignedRepo::new().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        text(&path).to_owned()
    };
    let base = repo.commit(Signing::Unsigned, "base").unwrap();
    let ssh = [
        ("ed25519", KeyType::Ed25519),
        ("p256", KeyType::EcdsaP256),
        ("p384", KeyType::EcdsaP384),
        ("p521", KeyType::EcdsaP521),
        ("rsa", KeyType::Rsa(3072)),
    ];
    let ssh = ssh.map(|(name, kind)| keys.generate(name, kind).unwrap());
    // Who signed, and what the verdict is.
    let mut expected = Vec::new();
    for key in &ssh {
        repo.write(key.principal(), key.principal()).unwrap();
        expected.push((repo.commit_signed(key, key.principal()).unwrap(), key.principal().to_owned(), "ok"));
    }
    let mut certificates = String::new();
    for algorithm in ["ed25519", "rsa3072"] {
        let user = format!("{algorithm} <{algorithm}@example.com>");
        let key = gpg.generate(&user, algorithm, "never").unwrap();
        certificates.push_str(&gpg.export(&key).unwrap());
        let commit = commit(&repo, &format!("gpg-{algorithm}"), |payload| gpg.sign(&key, &[], payload).unwrap());
        expected.push((commit, user, "ok"));
    }
    let now = Timestamp::now();
    let (sigstore, carol) = (
        Sigstore::generate(now - 48.hours()).unwrap(),
        Account { issuer: ISSUER.to_owned(), identity: "carol@example.com".to_owned() },
    );
    for (name, flaws, verdict) in [("gitsign", [].as_slice(), "ok"), ("online", &[Flaw::Online], "W205")] {
        let commit = commit(&repo, name, |payload| sigstore.sign(payload, &carol, now - 1.hour(), flaws).unwrap());
        expected.push((commit, carol.identity.clone(), verdict));
    }
    repo.write("unsigned", "unsigned").unwrap();
    expected.push((repo.commit_unsigned("unsigned").unwrap(), String::new(), "W301"));

    let signers = file("signers", &allowed_signers(&ssh.iter().collect::<Vec<_>>()));
    let (certificates, root) =
        (file("certificates.asc", &certificates), file("trusted_root.json", &sigstore.trusted_root().unwrap()));
    let (path, range) = (repo.path(), format!("{base}..HEAD"));
    let verify = |more: &[&str]| {
        let start = ["verify", "--repo", text(&path), "--signatures-only", "--allowed-signers", &signers];
        let others = ["--openpgp-certs", &certificates, "--trusted-root", &root, "--certificate-identity"];
        let account = [carol.identity.as_str(), "--certificate-oidc-issuer", ISSUER, &range];
        expect(1, &[start.as_slice(), &others, &account, more].concat())
    };
    let steps = json(&verify(&["-o", "json"]))["steps"].clone();
    let found: Vec<(String, String, String)> = steps.as_array().unwrap().iter().map(told).collect();
    let wanted: Vec<(String, String, String)> = expected
        .iter()
        .map(|(commit, who, verdict)| {
            let who = if *verdict == "ok" { who.clone() } else { String::new() };
            (commit.clone(), who, (*verdict).to_owned())
        })
        .collect();
    assert_eq!(found, wanted);
    // People read one line for each, in this order.
    let shown = verify(&[]).stdout;
    let lines: Vec<&str> = shown.lines().filter(|line| !line.starts_with(' ')).collect();
    for ((commit, _, verdict), line) in expected.iter().zip(&lines) {
        let word = if *verdict == "ok" { "accepted" } else { "refused" };
        assert!(line.starts_with(word) && line.contains(commit.get(..12).unwrap()), "{line}");
    }
    assert_eq!(lines.len(), expected.len() + 1, "a line each, and the sum: {shown}");
}

/// Commit, signer and code of a step.
fn told(step: &serde_json::Value) -> (String, String, String) {
    let text = |at: &str, none: &str| step.pointer(at).and_then(|value| value.as_str()).unwrap_or(none).to_owned();
    (text("/commit", ""), text("/signer/principal", ""), text("/code", "ok"))
}
