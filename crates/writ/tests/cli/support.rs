//! A repository that a TrustRoot trusts, and writ called as a person would.

use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::{
    Account, Finished, KeyType, Keys, PrincipalKind, SignedRepo, SigningKey, TrustFile, WritCommand, hermetic_command,
};

/// Runs writ; the environment of the developer is not seen.
pub(crate) fn writ(arguments: &[&str]) -> Finished {
    WritCommand::new(env!("CARGO_BIN_EXE_writ")).unwrap().args(arguments.iter().copied()).output().unwrap()
}

/// Runs writ and expects an exit status.
#[track_caller]
pub(crate) fn expect(code: i32, arguments: &[&str]) -> Finished {
    let finished = writ(arguments);
    assert_eq!(finished.code, Some(code), "writ {arguments:?}\n{}\n{}", finished.stdout, finished.stderr);
    finished
}

/// Standard output as JSON.
#[track_caller]
pub(crate) fn json(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {}", finished.stdout))
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Pastes a command into a shell, as a person whose git signs with `key`.
pub(crate) fn paste(directory: &Path, key: &SigningKey, command: &str) {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(
        home.path().join(".gitconfig"),
        format!(
            "[user]\nname = {0}\nemail = {0}@example.com\nsigningkey = {1}\n[core]\neditor = true\n",
            key.principal(),
            key.private_file().display()
        ),
    )
    .unwrap();
    let output = hermetic_command("sh", home.path()).current_dir(directory).args(["-ec", command]).output().unwrap();
    assert!(output.status.success(), "{command}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// A repository with a trust file: alice is root, frank security, bob sre.
pub(crate) struct World {
    keys: Keys,
    pub(crate) alice: SigningKey,
    pub(crate) frank: SigningKey,
    pub(crate) bob: SigningKey,
    pub(crate) repo: SignedRepo,
    pub(crate) introduction: String,
    folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let keys = Keys::new().unwrap();
        let [alice, frank, bob] = ["alice", "frank", "bob"].map(|name| keys.generate(name, KeyType::Ed25519).unwrap());
        let trust = TrustFile::team("urn:test", &alice, &frank, &bob);
        Self::of(keys, [alice, frank, bob], &trust)
    }

    /// As [`World::new`], with ids of SHA-256.
    pub(crate) fn with_sha256() -> Self {
        let keys = Keys::new().unwrap();
        let [alice, frank, bob] = ["alice", "frank", "bob"].map(|name| keys.generate(name, KeyType::Ed25519).unwrap());
        let trust = TrustFile::team("urn:test", &alice, &frank, &bob);
        Self::in_repository(SignedRepo::with_ids("sha256").unwrap(), keys, [alice, frank, bob], &trust)
    }

    /// As [`World::new`], where frank releases by the tag `live`.
    pub(crate) fn released_by_tag() -> Self {
        let keys = Keys::new().unwrap();
        let [alice, frank, bob] = ["alice", "frank", "bob"].map(|name| keys.generate(name, KeyType::Ed25519).unwrap());
        let rule = [("security", 1)];
        let trust = TrustFile::team("urn:test", &alice, &frank, &bob).git_ref("refs/tags/live");
        Self::of(keys, [alice, frank, bob], &trust.rule("tags", &["git:refs/tags/**"], &rule, &[]))
    }

    /// As [`World::new`], where frank alone may change everything.
    pub(crate) fn for_anything_by_frank() -> Self {
        let keys = Keys::new().unwrap();
        let frank = keys.generate("frank", KeyType::Ed25519).unwrap();
        let trust = TrustFile::team("urn:test", &frank, &frank, &frank);
        let team = [frank.clone(), frank.clone(), frank];
        Self::of(keys, team, &trust)
    }

    /// As [`World::for_anything_by_frank`], where commits may be signed for both object formats.
    pub(crate) fn signed_for_both_formats() -> Self {
        let keys = Keys::new().unwrap();
        let frank = keys.generate("frank", KeyType::Ed25519).unwrap();
        let trust = TrustFile::team("urn:test", &frank, &frank, &frank).dual_signed();
        Self::of(keys, [frank.clone(), frank.clone(), frank], &trust)
    }

    /// As [`World::for_anything_by_frank`], where commits say which ref they are for.
    pub(crate) fn bound_to_its_ref() -> Self {
        let keys = Keys::new().unwrap();
        let frank = keys.generate("frank", KeyType::Ed25519).unwrap();
        let trust = TrustFile::team("urn:test", &frank, &frank, &frank).history("{refBinding: trailer}");
        Self::of(keys, [frank.clone(), frank.clone(), frank], &trust)
    }

    /// As [`World::for_anything_by_frank`], where bob's key is frank's as well, and has ended.
    pub(crate) fn where_frank_has_an_old_key() -> Self {
        let keys = Keys::new().unwrap();
        let [frank, old] = ["frank", "old"].map(|name| keys.generate(name, KeyType::Ed25519).unwrap());
        let both = [(&frank, None), (&old, Some("2020-01-01T00:00:00Z"))];
        let trust = TrustFile::new("urn:test")
            .principal_until("frank", PrincipalKind::Human, &both)
            .role("root", &["frank"])
            .rule("all", &["**"], &[("root", 1)], &[]);
        Self::of(keys, [frank.clone(), frank, old], &trust)
    }

    /// As [`World::new`], where bob's key ends then.
    pub(crate) fn with_bob_until(end: &str) -> Self {
        let keys = Keys::new().unwrap();
        let [alice, frank, bob] = ["alice", "frank", "bob"].map(|name| keys.generate(name, KeyType::Ed25519).unwrap());
        let trust = TrustFile::new("urn:test")
            .principal("alice", PrincipalKind::Human, &[&alice])
            .principal_until("bob", PrincipalKind::Human, &[(&bob, Some(end))])
            .role("root", &["alice"])
            .role("sre", &["bob"])
            .rule("trust", &[".writ/**"], &[("root", 1)], &[])
            .rule("apps", &["apps/**"], &[("sre", 1)], &[]);
        Self::of(keys, [alice, frank, bob], &trust)
    }

    /// As [`World::new`], where carol, who has an account and no key, may change apps and the trust file as well, and two change
    /// `pair`.
    pub(crate) fn with_carol(account: &Account) -> Self {
        let keys = Keys::new().unwrap();
        let [alice, frank, bob] = ["alice", "frank", "bob"].map(|name| keys.generate(name, KeyType::Ed25519).unwrap());
        let trust = TrustFile::new("urn:test")
            .principal("alice", PrincipalKind::Human, &[&alice])
            .principal("bob", PrincipalKind::Human, &[&bob])
            .keyless("carol", account)
            .role("root", &["alice", "carol"])
            .role("sre", &["bob", "carol"])
            .rule("trust", &[".writ/**"], &[("root", 1)], &[])
            .rule("apps", &["apps/**"], &[("sre", 1)], &[])
            .rule("pair", &["pair/**"], &[("sre", 2)], &[]);
        Self::of(keys, [alice, frank, bob], &trust)
    }

    /// As [`World::new`], where policies take two of alice, frank and bob.
    pub(crate) fn with_two_for_policies() -> Self {
        let keys = Keys::new().unwrap();
        let [alice, frank, bob] = ["alice", "frank", "bob"].map(|name| keys.generate(name, KeyType::Ed25519).unwrap());
        let trust = TrustFile::new("urn:test")
            .principal("alice", PrincipalKind::Human, &[&alice])
            .principal("frank", PrincipalKind::Human, &[&frank])
            .principal("bob", PrincipalKind::Human, &[&bob])
            .role("root", &["alice"])
            .role("security", &["alice", "frank"])
            .role("sre", &["bob"])
            .rule("trust", &[".writ/**"], &[("root", 1)], &[])
            .rule("policies", &["policies/**"], &[("security", 2)], &[])
            .rule("apps", &["apps/**"], &[("sre", 1)], &[]);
        Self::of(keys, [alice, frank, bob], &trust)
    }

    /// As [`World::new`], where the trust file takes two of alice and frank.
    pub(crate) fn with_two_roots() -> Self {
        let keys = Keys::new().unwrap();
        let [alice, frank, bob] = ["alice", "frank", "bob"].map(|name| keys.generate(name, KeyType::Ed25519).unwrap());
        let trust = TrustFile::new("urn:test")
            .principal("alice", PrincipalKind::Human, &[&alice])
            .principal("frank", PrincipalKind::Human, &[&frank])
            .principal("bob", PrincipalKind::Human, &[&bob])
            .role("root", &["alice", "frank"])
            .role("sre", &["bob"])
            .rule("trust", &[".writ/**"], &[("root", 2)], &[])
            .rule("apps", &["apps/**"], &[("sre", 1)], &[]);
        Self::of(keys, [alice, frank, bob], &trust)
    }

    fn of(keys: Keys, team: [SigningKey; 3], trust: &TrustFile) -> Self {
        Self::in_repository(SignedRepo::new().unwrap(), keys, team, trust)
    }

    fn in_repository(repo: SignedRepo, keys: Keys, [alice, frank, bob]: [SigningKey; 3], trust: &TrustFile) -> Self {
        repo.write(".writ/trust.yaml", trust.text()).unwrap();
        repo.sign_trust_file(&alice).unwrap();
        if trust.text().contains("role: root, threshold: 2") {
            repo.sign_trust_file(&frank).unwrap();
        }
        let introduction = repo.commit_signed(&alice, "introduce").unwrap();
        let world = Self { keys, alice, frank, bob, repo, introduction, folder: tempfile::tempdir().unwrap() };
        let printed = expect(0, &["trust", "root", "--repo", &world.path(), "--url", "https://git.example.com/r.git"]);
        std::fs::write(world.trust_root(), printed.stdout).unwrap();
        world
    }

    pub(crate) fn path(&self) -> String {
        self.repo.path().to_str().unwrap().to_owned()
    }

    pub(crate) fn trust_root(&self) -> PathBuf {
        self.folder.path().join("trust-root.yaml")
    }

    /// Writes a file beside the repository.
    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        let file = self.folder.path().join(name);
        std::fs::write(&file, content).unwrap();
        text(&file).to_owned()
    }

    pub(crate) fn stranger(&self) -> SigningKey {
        self.key("mallory")
    }

    /// A new key of somebody.
    pub(crate) fn key(&self, name: &str) -> SigningKey {
        self.key_of_type(name, KeyType::Ed25519)
    }

    pub(crate) fn key_of_type(&self, name: &str, key_type: KeyType) -> SigningKey {
        self.keys.generate(name, key_type).unwrap()
    }

    /// A commit of bob's that is accepted.
    pub(crate) fn good(&self, name: &str) -> String {
        self.repo.write(&format!("apps/{name}.txt"), name).unwrap();
        self.repo.commit_signed(&self.bob, name).unwrap()
    }

    /// `writ verify` with further arguments, as JSON.
    #[track_caller]
    pub(crate) fn verify(&self, code: i32, arguments: &[&str]) -> Value {
        let (path, root) = (self.path(), self.trust_root());
        let mut all = vec!["verify", "--repo", &path, "--trust-root", text(&root), "-o", "json"];
        all.extend_from_slice(arguments);
        json(&expect(code, &all))
    }
}

/// The 13 mutants of a signed commit that carry its signature over from other bytes, by name.
pub(crate) fn mutants(raw: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let raw = String::from_utf8(raw.to_vec()).unwrap();
    let start = raw.find("gpgsig ").unwrap();
    let end = raw.find("\n\n").unwrap() + 1;
    let (before, signature, message) = (&raw[..start], &raw[start..end], &raw[end..]);
    let tree = &raw[..raw.find('\n').unwrap() + 1];
    let other = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n";
    let author = raw.find("author ").unwrap();
    let closing = "-----END SSH SIGNATURE-----";
    vec![
        ("unknown gpgsig header", format!("{before}{signature}gpgsigX junk\n{message}")),
        ("gpgsig-sha256 before", format!("{before}gpgsig-sha256 junk\n{signature}{message}")),
        ("gpgsig-sha256 after", format!("{before}{signature}gpgsig-sha256 junk\n{message}")),
        ("gpgsig twice", format!("{before}{signature}{signature}{message}")),
        ("second gpgsig", format!("{before}{signature}gpgsig garbage\n{message}")),
        ("first gpgsig", format!("{before}gpgsig garbage\n{signature}{message}")),
        ("signature in the message", format!("{before}\n{signature}{message}")),
        ("NUL in the message", format!("{raw}\0unsigned\n")),
        ("duplicate tree, other first", format!("{other}{raw}")),
        ("duplicate tree, other second", format!("{tree}{other}{}", &raw[tree.len()..])),
        ("space after the armour", raw.replace(closing, &format!("{closing} "))),
        ("gpgsig before author", format!("{}{signature}{}{message}", &raw[..author], &raw[author..start])),
        ("blank continuation line", format!("{before}{signature} \n{message}")),
    ]
    .into_iter()
    .map(|(name, mutant)| (name, mutant.into_bytes()))
    .collect()
}
