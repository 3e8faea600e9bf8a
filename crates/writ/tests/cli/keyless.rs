//! Keyless signatures: of accounts of a private Sigstore, as gitsign makes them.

use jiff::{Timestamp, ToSpan as _};
use serde_json::Value;
use testkit::{Account, Flaw, Signing, Sigstore};

use crate::support::{World, expect, json, text};

const ISSUER: &str = "https://accounts.example.com";

fn carol() -> Account {
    Account { issuer: ISSUER.to_owned(), identity: "carol@example.com".to_owned() }
}

struct Signed {
    world: World,
    sigstore: Sigstore,
}

impl Signed {
    fn new() -> Self {
        let sigstore = Sigstore::generate(Timestamp::now() - 48.hours()).unwrap();
        let signed = Self { world: World::with_carol(&carol()), sigstore };
        signed.trust("trustedRoot", &signed.sigstore.trusted_root().unwrap());
        signed
    }

    /// Puts a field below `spec.keyless` of the TrustRoot, in place of what was there.
    fn trust(&self, field: &str, value: &str) {
        self.keyless(&format!("{field}: '{value}'"));
    }

    /// Puts fields there.
    fn keyless(&self, fields: &str) {
        let before = std::fs::read_to_string(self.world.trust_root()).unwrap();
        let lines = before.lines().filter(|line| !line.starts_with("  keyless:"));
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        let with = text.replacen("\nspec:\n", &format!("\nspec:\n  keyless: {{{fields}}}\n"), 1);
        assert_ne!(with, text);
        std::fs::write(self.world.trust_root(), with).unwrap();
    }

    /// A commit of one file by an account, which the branch then points at.
    fn commit(&self, account: &Account, flaws: &[Flaw]) -> String {
        let repo = &self.world.repo;
        repo.write("apps/keyless.txt", format!("{flaws:?}")).unwrap();
        repo.commit(Signing::Unsigned, "keyless").unwrap();
        let payload = repo.read_object("commit", "HEAD").unwrap();
        let armour = self.sigstore.sign(&payload, account, Timestamp::now() - 1.hours(), flaws).unwrap();
        let header = format!("\ngpgsig {}\n\n", armour.trim_end().replace('\n', "\n "));
        let raw = String::from_utf8(payload).unwrap().replacen("\n\n", &header, 1);
        let commit = repo.write_object("commit", raw.as_bytes()).unwrap();
        repo.reset(&commit).unwrap();
        commit
    }

    /// Code and fix of the last step, judged by the TrustRoot.
    fn refused(&self) -> (String, String) {
        let found = self.world.verify(1, &[]);
        let steps = found.get("steps").and_then(Value::as_array).unwrap();
        let field = |name: &str| steps.last().and_then(|step| step.get(name)?.as_str()).unwrap().to_owned();
        (field("code"), field("fix"))
    }
}

#[test]
fn an_account_of_the_trust_file_signs_commits() {
    let signed = Signed::new();
    signed.commit(&carol(), &[]);
    let found = signed.world.verify(0, &[]);
    let signer = &found["steps"][0]["signer"];
    assert_eq!((&signer["principal"], &signer["format"]), (&"carol".into(), &"keyless".into()));
    assert_eq!(signer["identity"]["issuer"], ISSUER);
    let (path, root) = (signed.world.path(), signed.world.trust_root());
    let told = expect(0, &["verify", "--repo", &path, "--trust-root", text(&root)]).stdout;
    assert!(told.contains("signed by carol as carol@example.com of https://accounts.example.com"), "{told}");
    let shown = expect(0, &["trust", "show", "--repo", &path]).stdout;
    assert!(shown.contains("carol@example.com of https://accounts.example.com, keyless:"), "{shown}");
    expect(0, &["trust", "lint", "--repo", &path]);
}

#[test]
fn online_mode_strangers_and_other_roots_are_refused_with_what_to_do() {
    let signed = Signed::new();
    signed.commit(&carol(), &[Flaw::Online]);
    let (code, fix) = signed.refused();
    assert_eq!(code, "W205");
    assert!(fix.contains("-c gitsign.rekorMode=offline commit --amend"), "{fix}");
    assert!(fix.ends_with("git config gitsign.rekorMode offline"), "{fix}");
    signed.world.repo.reset("HEAD~1").unwrap();
    let eve = Account { identity: "eve@example.com".to_owned(), ..carol() };
    signed.commit(&eve, &[]);
    assert_eq!(signed.refused().0, "W206");
    signed.world.repo.reset("HEAD~1").unwrap();
    signed.commit(&carol(), &[]);
    signed.world.verify(0, &[]);
    let (path, root) = (signed.world.path(), signed.world.trust_root());
    let verify = |code: i32| expect(code, &["verify", "--repo", &path, "--trust-root", text(&root)]).stderr;
    signed.trust("trustedRoot", &Sigstore::generate(Timestamp::now()).unwrap().trusted_root().unwrap());
    assert_eq!(signed.refused().0, "W206");
    signed.trust("trustedRoot", "{}");
    assert!(verify(2).contains("cannot use spec.keyless.trustedRoot"), "{}", verify(2));
}

#[test]
fn what_the_controller_fetches_is_asked_of_no_server_here() {
    let signed = Signed::new();
    let trusted_root = signed.world.file("trusted_root.json", &signed.sigstore.trusted_root().unwrap());
    signed.commit(&carol(), &[]);
    let (path, root) = (signed.world.path(), signed.world.trust_root());
    let start = ["verify", "--repo", &path, "--trust-root", text(&root)];
    let refresh = |value: &str| signed.keyless(&format!("refresh: {value}"));
    // By the public Sigstore, of which this is none.
    refresh("{}");
    let built_in = expect(1, &start).stderr;
    assert!(built_in.contains("note: spec.keyless.refresh is for the controller"), "{built_in}");
    assert!(built_in.contains("by the trust root that writ was built with; give what it fetched"), "{built_in}");
    // By that of a repository of one's own, which no address leads to, and of which nothing is here.
    refresh("{mirror: 'https://tuf.example.invalid', root: '{}'}");
    let nothing = expect(1, &start);
    assert!(nothing.stderr.contains("verified by nothing, and refused"), "{}", nothing.stderr);
    assert!(nothing.stdout.contains("no trust root was fetched yet"), "{}", nothing.stdout);
    let given = expect(0, &[start.as_slice(), &["--trusted-root", &trusted_root]].concat());
    assert_eq!(given.stderr, "");
    expect(64, &["verify", "--repo", &path, "--signatures-only", "--trusted-root", &trusted_root]);
}

#[test]
fn what_a_trust_root_cannot_say_of_its_refresh_is_told_with_field_and_line() {
    let signed = Signed::new();
    let (path, root) = (signed.world.path(), signed.world.trust_root());
    for (keyless, told) in [
        ("trustedRoot: '{}', refresh: {}", "spec.keyless.trustedRoot: the trust root is either this text or"),
        (
            "refresh: {root: '{}'}",
            "spec.keyless.refresh.root: the repository of the public Sigstore does not begin with it",
        ),
        ("refresh: {mirror: 'http://tuf.example.com'}", "spec.keyless.refresh.mirror: not https://HOST[:PORT][/PATH]"),
        ("refresh: true", "spec.keyless.refresh: invalid type: boolean `true`"),
    ] {
        signed.keyless(keyless);
        let error = expect(2, &["verify", "--repo", &path, "--trust-root", text(&root)]).stderr;
        assert!(error.contains(told), "{error}");
        let text = std::fs::read_to_string(&root).unwrap();
        let line = text.lines().position(|line| line.starts_with("  keyless:")).unwrap() + 1;
        assert!(error.contains(&format!("line {line}")) || error.contains(&format!(":{line}:")), "{error}");
    }
}

#[test]
fn signatures_alone_are_judged_by_accounts_that_are_given() {
    let signed = Signed::new();
    let commit = signed.commit(&carol(), &[]);
    let trusted_root = signed.world.file("trusted_root.json", &signed.sigstore.trusted_root().unwrap());
    let path = signed.world.path();
    let start = ["verify", "--repo", &path, "--signatures-only", "-o", "json", &commit];
    let account = ["--certificate-identity", "carol@example.com", "--certificate-oidc-issuer", ISSUER];
    let own = ["--trusted-root", &trusted_root];
    let step = |code: i32, more: &[&[&str]]| {
        json(&expect(code, &[start.as_slice(), &more.concat()].concat()))["steps"][0].clone()
    };
    assert_eq!(step(0, &[&account, &own])["signer"]["principal"], "carol@example.com");
    // by the public Sigstore, of which this is none
    assert_eq!(step(1, &[&account])["code"], "W206");
    let other = ["--certificate-identity", "eve@example.com", "--certificate-oidc-issuer", ISSUER];
    assert_eq!(step(1, &[&other, &own])["code"], "W206");
    assert_eq!(step(0, &[&other, &account, &own])["verdict"], "accepted");
    let signers = signed.world.file("signers", &testkit::allowed_signers(&[&signed.world.bob]));
    let unlisted = step(1, &[&["--allowed-signers", &signers]]);
    assert_eq!(unlisted["code"], "W208");
    assert!(unlisted["fix"].as_str().unwrap().contains("--certificate-identity"), "{unlisted}");
    expect(64, &[start.as_slice(), &account[..2]].concat());
    expect(64, &[start.as_slice(), &account, &other[..2]].concat());
    let broken = signed.world.file("broken.json", "{}");
    expect(2, &[start.as_slice(), &account, &["--trusted-root", &broken]].concat());
}
