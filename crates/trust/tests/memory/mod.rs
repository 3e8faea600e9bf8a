//! A repository in memory with really signed commits, and the people who sign them. Keys come from the name of their
//! holder at run time.

#![expect(unreachable_pub, reason = "part of the tests, not of the crate")]

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use manifest::{Digest, RepoPath};
use sha2::{Digest as _, Sha256, Sha512};
use trust::{
    Approval, Change, CommitId, CommitObject, Decision, Entry, EntryMode, Fingerprint, Head, History, HistoryError,
    Introduction, Judgement, KeylessVerifier, ObjectFormat, PublicKey, RootKeys, Start, TagId, TreeId, TrustRootSpec,
    Verifiers, judge_with,
};

/// 2026-01-01T00:00:00Z, when the introduction is made.
pub const BASE: i64 = 1_767_225_600;

pub type Tree = BTreeMap<RepoPath, Vec<u8>>;

pub fn path(text: &str) -> RepoPath {
    text.parse().unwrap()
}

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A key and its holder.
pub struct Person {
    pair: Ed25519KeyPair,
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend_from_slice(bytes);
}

impl Person {
    pub fn new(name: &str) -> Self {
        let seed = Sha256::digest(format!("key of {name}"));
        Self { pair: Ed25519KeyPair::from_seed_unchecked(&seed).unwrap() }
    }

    fn blob(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        string(&mut blob, b"ssh-ed25519");
        string(&mut blob, self.pair.public_key().as_ref());
        blob
    }

    pub fn public(&self) -> String {
        format!("ssh-ed25519 {}", STANDARD.encode(self.blob()))
    }

    pub fn fingerprint(&self) -> Fingerprint {
        PublicKey::parse(&self.public()).unwrap().fingerprint()
    }

    /// What `ssh-keygen -Y sign -n NAMESPACE` writes.
    pub fn sign(&self, namespace: &str, message: &[u8]) -> String {
        let mut signed = b"SSHSIG".to_vec();
        for part in [namespace.as_bytes(), b"", b"sha512", &Sha512::digest(message)] {
            string(&mut signed, part);
        }
        let mut signature = Vec::new();
        string(&mut signature, b"ssh-ed25519");
        string(&mut signature, self.pair.sign(&signed).as_ref());
        let mut blob = b"SSHSIG\x00\x00\x00\x01".to_vec();
        for part in [&self.blob(), namespace.as_bytes(), b"", b"sha512", &signature] {
            string(&mut blob, part);
        }
        let digits = STANDARD.encode(blob);
        let lines: Vec<&str> = digits.as_bytes().chunks(70).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", lines.join("\n"))
    }
}

struct Stored {
    raw: Vec<u8>,
    tree: Tree,
    parents: Vec<CommitId>,
    time: i64,
}

/// The repository, with what is broken about it.
#[derive(Default)]
pub struct Memory {
    commits: BTreeMap<CommitId, Stored>,
    pub broken: BTreeMap<CommitId, HistoryError>,
    pub missing: BTreeSet<CommitId>,
    /// Raw tag objects.
    pub tags: BTreeMap<TagId, Vec<u8>>,
    /// What lies beside commits.
    pub notes: BTreeMap<CommitId, Vec<Vec<u8>>>,
    /// The commits beside which nothing can be read.
    pub unreadable_notes: BTreeMap<CommitId, HistoryError>,
}

impl Memory {
    pub fn store(&mut self, parents: &[CommitId], tree: Tree, signer: Option<&Person>, time: i64) -> CommitId {
        let sign = signer.map(|signer| |payload: &[u8]| signer.sign("git", payload));
        self.store_signed(parents, tree, sign, time)
    }

    /// As `store`, with a signature of any kind.
    pub fn store_signed(
        &mut self,
        parents: &[CommitId],
        tree: Tree,
        sign: Option<impl FnOnce(&[u8]) -> String>,
        time: i64,
    ) -> CommitId {
        let mut listing = Sha256::new();
        for (path, bytes) in &tree {
            listing.update(path.as_str());
            listing.update(Sha256::digest(bytes));
        }
        let tree_id = hex::encode(&listing.finalize()[..20]);
        let mut head = format!("tree {tree_id}\n");
        for parent in parents {
            head += &format!("parent {parent}\n");
        }
        head += &format!("author A <a@example.com> {time} +0000\ncommitter A <a@example.com> {time} +0000\n");
        let message = format!("\nchange {}\n", self.commits.len());
        self.store_with(&head, &message, parents, tree, sign, time)
    }

    fn store_with(
        &mut self,
        head: &str,
        message: &str,
        parents: &[CommitId],
        tree: Tree,
        sign: Option<impl FnOnce(&[u8]) -> String>,
        time: i64,
    ) -> CommitId {
        let payload = format!("{head}{message}");
        let signature = sign.map_or_else(String::new, |sign| {
            let armor = sign(payload.as_bytes());
            format!("gpgsig {}\n", armor.trim_end().replace('\n', "\n "))
        });
        self.plant(format!("{head}{signature}{message}").into_bytes(), parents, tree, time)
    }

    /// Stores a commit whatever its bytes are.
    pub fn plant(&mut self, raw: Vec<u8>, parents: &[CommitId], tree: Tree, time: i64) -> CommitId {
        let id = CommitId::of(ObjectFormat::Sha1, &raw).unwrap();
        self.commits.insert(id, Stored { raw, tree, parents: parents.to_vec(), time });
        id
    }

    /// Stores a tag whatever its bytes are, and leads to a commit by it.
    pub fn plant_tag(&mut self, raw: Vec<u8>, commit: CommitId) -> Head {
        let id = TagId::of(ObjectFormat::Sha1, &raw).unwrap();
        self.tags.insert(id, raw);
        Head { commit, tag: Some(id) }
    }

    /// A signed tag of a commit.
    pub fn tag(&mut self, name: &str, commit: CommitId, signer: &str, time: i64) -> Head {
        let payload =
            format!("object {commit}\ntype commit\ntag {name}\ntagger A <a@example.com> {time} +0000\n\nrelease\n");
        let signature = Person::new(signer).sign("git", payload.as_bytes());
        self.plant_tag(format!("{payload}{signature}").into_bytes(), commit)
    }

    pub fn raw(&self, id: &CommitId) -> &[u8] {
        &self.commits[id].raw
    }

    pub fn tree(&self, id: &CommitId) -> Tree {
        self.commits[id].tree.clone()
    }

    pub fn time(&self, id: &CommitId) -> i64 {
        self.commits[id].time
    }

    pub fn payload(&self, id: &CommitId) -> Digest {
        CommitObject::parse(*id, self.raw(id)).unwrap().payload_sha256
    }

    fn reachable(&self, from: &CommitId) -> BTreeSet<CommitId> {
        let (mut seen, mut queue) = (BTreeSet::new(), vec![*from]);
        while let Some(id) = queue.pop() {
            if seen.insert(id) {
                queue.extend(self.commits.get(&id).into_iter().flat_map(|stored| stored.parents.iter().copied()));
            }
        }
        seen
    }
}

impl History for Memory {
    fn commit(&self, id: &CommitId) -> Result<Option<Vec<u8>>, HistoryError> {
        Ok(self.commits.get(id).filter(|_| !self.missing.contains(id)).map(|stored| stored.raw.clone()))
    }

    fn tag(&self, id: &TagId) -> Result<Option<Vec<u8>>, HistoryError> {
        Ok(self.tags.get(id).cloned())
    }

    fn changes(&self, from: Option<&CommitId>, to: &CommitId, limit: usize) -> Result<Vec<Change>, HistoryError> {
        if let Some(error) = self.broken.get(to) {
            return Err(error.clone());
        }
        let empty = Tree::new();
        let before = from.map_or(&empty, |from| &self.commits[from].tree);
        let after = &self.commits[to].tree;
        let entry = |bytes: &Vec<u8>| Entry { mode: EntryMode::File, id: Digest::of(bytes).to_string() };
        let paths: BTreeSet<&RepoPath> = before.keys().chain(after.keys()).collect();
        let changes: Vec<Change> = paths
            .into_iter()
            .map(|path| Change {
                path: path.clone(),
                before: before.get(path).map(entry),
                after: after.get(path).map(entry),
            })
            .filter(|change| change.before != change.after)
            .collect();
        if changes.len() > limit {
            return Err(HistoryError::Limit { what: "changed paths".to_owned(), limit: limit as u64 });
        }
        Ok(changes)
    }

    fn entry(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<Entry>, HistoryError> {
        let bytes = self.commits[commit].tree.get(path);
        Ok(bytes.map(|bytes| Entry { mode: EntryMode::File, id: Digest::of(bytes).to_string() }))
    }

    fn read(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<Vec<u8>>, HistoryError> {
        Ok(self.commits[commit].tree.get(path).cloned())
    }

    fn list(&self, commit: &CommitId, folder: &RepoPath) -> Result<Vec<RepoPath>, HistoryError> {
        Ok(self.commits[commit].tree.keys().filter(|path| path.starts_with(folder)).cloned().collect())
    }

    fn side_commits(&self, mainline: &CommitId, step: &CommitId, limit: usize) -> Result<Vec<CommitId>, HistoryError> {
        let known = self.reachable(mainline);
        let side: Vec<_> = self.reachable(step).into_iter().filter(|id| !known.contains(id) && id != step).collect();
        if side.len() > limit {
            return Err(HistoryError::Limit { what: "side commits".to_owned(), limit: limit as u64 });
        }
        Ok(side)
    }

    fn is_ancestor(&self, ancestor: &CommitId, of: &CommitId) -> Result<bool, HistoryError> {
        Ok(self.reachable(of).contains(ancestor))
    }

    fn attestations(&self, commit: &CommitId, _tree: &TreeId) -> Result<Vec<Vec<u8>>, HistoryError> {
        match self.unreadable_notes.get(commit) {
            Some(error) => Err(error.clone()),
            None => Ok(self.notes.get(commit).cloned().unwrap_or_default()),
        }
    }
}

/// Everyone, and a repository that has been introduced.
pub struct World {
    pub memory: Memory,
    pub root: TrustRootSpec,
    pub introduction: CommitId,
    pub now: i64,
    /// Verifies keyless signatures, if anything does.
    pub keyless: Option<&'static dyn KeylessVerifier>,
}

pub fn person(name: &str) -> Person {
    Person::new(name)
}

/// The trust file of the tests; `edits` are replacements of text that must be there.
pub fn policy(version: u64, edits: &[(&str, &str)]) -> String {
    let mut text =
        String::from("apiVersion: writ.dev/v1alpha1\nkind: TrustPolicy\nrepoId: urn:writ:test\nref: refs/heads/main\n");
    text += &format!("version: {version}\nexpires: 2027-06-01T00:00:00Z\nprincipals:\n");
    for name in ["alice", "bob", "carol", "dave", "erin", "frank"] {
        text += &format!("  {name}: {{kind: human, keys: [{{ssh: \"{}\"}}]}}\n", person(name).public());
    }
    text += &format!("  relbot: {{kind: robot, keys: [{{ssh: \"{}\"}}]}}\n", person("relbot").public());
    text += "roles: {root: [alice, dave], security: [alice, frank], sre: [bob, carol], bots: [relbot]}\nrules:\n";
    text += "  - {name: trust, paths: [\".writ/**\"], anyOf: [{role: root, threshold: 2}]}\n";
    text += "  - {name: policies, paths: [\"policies/**\", \"waivers/**\"], anyOf: [{role: security, threshold: 1}], \
             kinds: [\"admissionregistration.k8s.io/ValidatingAdmissionPolicy*\", \"*.writ.dev/*\"]}\n";
    text += "  - {name: apps, paths: [\"apps/**\"], anyOf: [{role: sre, threshold: 1}, {role: bots, threshold: 1}], \
             kinds: [\"!ClusterRole*\", \"namespaced\"]}\n";
    text += "history: {ancestry: firstParent}\nrevoked: []\n";
    for (from, to) in edits {
        assert!(text.contains(from), "{from:?} is not in the trust file");
        text = text.replace(from, to);
    }
    text
}

/// Puts a trust file into a tree, signed by these people; their signatures replace all others.
pub fn put_policy(tree: &mut Tree, text: &str, signers: &[&str]) {
    tree.retain(|path, _bytes| !path.as_str().starts_with(".writ/"));
    tree.insert(path(".writ/trust.yaml"), text.as_bytes().to_vec());
    for name in signers {
        let signature = person(name).sign("writ-trust@1", text.as_bytes());
        tree.insert(path(&format!(".writ/trust.yaml.sigs/{name}.sig")), signature.into_bytes());
    }
}

pub fn config_map(name: &str, value: u32) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{value: \"{value}\"}}\n")
}

impl World {
    pub fn new() -> Self {
        Self::with(&policy(1, &[]))
    }

    /// What an approval of a step says: under version 1 of the trust file, for an hour.
    pub fn approval(&self, step: CommitId) -> Approval {
        let object = CommitObject::parse(step, self.memory.raw(&step)).unwrap();
        Approval {
            repo_id: self.root.repo_id.clone(),
            git_ref: self.root.r#ref.clone(),
            from: object.parents[0],
            to_tree: object.tree,
            policy_version: 1,
            expires: at(self.now + 3_600),
            decision: Decision::Approve,
            skipped: Vec::new(),
        }
    }

    pub fn with(text: &str) -> Self {
        let mut tree = Tree::new();
        put_policy(&mut tree, text, &["alice", "dave"]);
        tree.insert(path("apps/web.yaml"), config_map("web", 1).into_bytes());
        Self::of(tree)
    }

    pub fn of(tree: Tree) -> Self {
        let mut memory = Memory::default();
        let introduction = memory.store(&[], tree, Some(&person("alice")), BASE);
        let root = TrustRootSpec {
            repo_id: "urn:writ:test".to_owned(),
            r#ref: "refs/heads/main".to_owned(),
            introduction: Introduction {
                commit: introduction,
                payload_sha256: memory.payload(&introduction),
                signer: person("alice").fingerprint(),
            },
            root_keys: RootKeys { threshold: 2, keys: vec![person("alice").public(), person("dave").public()] },
            min_policy_version: 0,
            mode: trust::TrustMode::Enforce,
            limits: None,
            resume_from: None,
            freshness: None,
            orders: trust::TrustOrders::Signed,
            keyless: None,
            bootstrap: Vec::new(),
        };
        Self { memory, root, introduction, now: BASE + 86_400, keyless: None }
    }

    /// A commit on top of another, a minute later.
    pub fn push(&mut self, parent: CommitId, signer: Option<&str>, edit: impl FnOnce(&mut Tree)) -> CommitId {
        let mut tree = self.memory.tree(&parent);
        edit(&mut tree);
        let time = self.memory.time(&parent) + 60;
        self.memory.store(&[parent], tree, signer.map(person).as_ref(), time)
    }

    /// A commit on top of another with a message of its own.
    pub fn say(&mut self, parent: CommitId, signer: &str, message: &str, edit: impl FnOnce(&mut Tree)) -> CommitId {
        let draft = self.push(parent, Some(signer), edit);
        let raw = String::from_utf8(self.memory.raw(&draft).to_vec()).unwrap();
        let head: String =
            raw.lines().take_while(|line| !line.starts_with("gpgsig ")).map(|line| format!("{line}\n")).collect();
        let (tree, time) = (self.memory.tree(&draft), self.memory.time(&draft));
        let signer = person(signer);
        let sign = Some(|payload: &[u8]| signer.sign("git", payload));
        self.memory.store_with(&head, &format!("\n{message}"), &[parent], tree, sign, time)
    }

    /// The same signed commit as another object: with a second signature, as of the other object format, that its signer made
    /// over something else.
    pub fn with_second_signature(&mut self, commit: CommitId, signer: &str, over: &str) -> CommitId {
        let parsed = CommitObject::parse(commit, self.memory.raw(&commit)).unwrap();
        let raw = String::from_utf8(self.memory.raw(&commit).to_vec()).unwrap();
        let armour = person(signer).sign("git", over.as_bytes());
        let second = format!("\ngpgsig-sha256 {}\n\n", armour.trim_end().replace('\n', "\n "));
        let (tree, time) = (self.memory.tree(&commit), self.memory.time(&commit));
        self.memory.plant(raw.replacen("\n\n", &second, 1).into_bytes(), &parsed.parents, tree, time)
    }

    /// A commit that puts one file.
    pub fn put(&mut self, parent: CommitId, signer: &str, file: &str, text: &str) -> CommitId {
        self.push(parent, Some(signer), |tree| _ = tree.insert(path(file), text.as_bytes().to_vec()))
    }

    pub fn judge(&self, start: &Start, head: CommitId) -> Judgement {
        let with = Verifiers { keyless: self.keyless, ..Verifiers::default() };
        judge_with(&self.memory, &self.root, start, &head, at(self.now), with)
    }

    /// `ok` or the code, from the introduction.
    pub fn code(&self, head: CommitId) -> &'static str {
        code(&self.judge(&Start::Introduction, head))
    }
}

/// `ok` or the code of the refusal.
pub fn code(judgement: &Judgement) -> &'static str {
    let code = judgement.refusal().map_or("ok", |finding| finding.code.code);
    let head = judgement.accepted().is_some_and(|accepted| accepted.id() == judgement.to);
    assert!(if code == "ok" { head || judgement.accepted().is_none() } else { !head }, "{judgement:?}");
    code
}
