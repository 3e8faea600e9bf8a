//! Random commits against the real git.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use proptest::{
    prelude::*,
    test_runner::{FileFailurePersistence, TestRunner},
};
use support::{Bench, KEY_TYPES, Key, gpg::Gpg, parse};
use trust::{AllowedSigners, KnownSigners, verify_signature_only};

fn config(cases: u32) -> ProptestConfig {
    let regressions = FileFailurePersistence::Direct("tests/random_commits.regressions");
    ProptestConfig { cases, failure_persistence: Some(Box::new(regressions)), ..ProptestConfig::default() }
}

/// What is done to the bytes of a commit, by shares of their length.
#[derive(Debug, Clone)]
enum Edit {
    /// A line is left out.
    Drop(prop::sample::Index),
    /// A line comes twice.
    Double(prop::sample::Index),
    /// Two lines change places.
    Swap(prop::sample::Index, prop::sample::Index),
    /// One more line, as git or somebody else writes it.
    Line(prop::sample::Index, usize),
    /// Bytes are put in.
    Bytes(prop::sample::Index, Vec<u8>),
    /// A byte is another.
    Flip(prop::sample::Index, u8),
}

const LINES: [&str; 10] = [
    "encoding ISO-8859-1",
    "mergetag object 4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    " a line that goes on",
    "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    // Of nothing that is there: what kind of object a parent is, git asks the repository, and a commit alone does not say.
    "parent 1234567890123456789012345678901234567890",
    "committer Eve <eve@example.com> 1767225600 +0000",
    "gpgsig garbage",
    "gpgsig-sha256 garbage",
    "change-id abc",
    "",
];

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        at().prop_map(Edit::Drop),
        at().prop_map(Edit::Double),
        (at(), at()).prop_map(|(one, other)| Edit::Swap(one, other)),
        (at(), 0..LINES.len()).prop_map(|(place, line)| Edit::Line(place, line)),
        (at(), prop::collection::vec(any::<u8>(), 1..4)).prop_map(|(place, bytes)| Edit::Bytes(place, bytes)),
        (at(), 1_u8..).prop_map(|(place, bits)| Edit::Flip(place, bits)),
    ]
}

fn edited(raw: &[u8], edit: &Edit) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = raw.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let (count, mut raw) = (lines.len(), raw.to_vec());
    match edit {
        Edit::Drop(place) => drop(lines.remove(place.index(count))),
        Edit::Double(place) => lines.insert(place.index(count), lines[place.index(count)].clone()),
        Edit::Swap(one, other) => lines.swap(one.index(count), other.index(count)),
        Edit::Line(place, line) => lines.insert(place.index(count), format!("{}\n", LINES[*line]).into_bytes()),
        Edit::Bytes(place, bytes) => {
            let place = place.index(raw.len());
            raw.splice(place..place, bytes.iter().copied());
            return raw;
        }
        Edit::Flip(place, bits) => {
            let place = place.index(raw.len());
            raw[place] ^= bits;
            return raw;
        }
    }
    lines.concat()
}

/// Puts a signature behind the headers, or at the end where nothing follows them.
fn signed(payload: &[u8], armour: &str) -> Vec<u8> {
    let header = format!("gpgsig {}\n", armour.trim_end().replace('\n', "\n "));
    let end = payload.windows(2).position(|pair| pair == b"\n\n").map_or(payload.len(), |place| place + 1);
    let (headers, message) = payload.split_at(end);
    [headers, header.as_bytes(), message].concat()
}

/// Somebody's keys of every kind.
struct Signers<'b> {
    bench: &'b Bench,
    gpg: &'b Gpg<'b>,
    ssh: Vec<Key>,
    openpgp: Vec<String>,
}

impl<'b> Signers<'b> {
    fn new(bench: &'b Bench, gpg: &'b Gpg<'b>) -> Self {
        let kinds = KEY_TYPES.iter().enumerate();
        let ssh = kinds.map(|(number, kind)| bench.key(&format!("key-{number}"), kind)).collect();
        let kinds = ["ed25519", "nistp256", "rsa3072"];
        Self { bench, gpg, ssh, openpgp: kinds.map(|kind| gpg.key(kind, kind, "sign", "never")).to_vec() }
    }

    fn count(&self) -> usize {
        self.ssh.len() + self.openpgp.len()
    }

    fn allowed(&self) -> String {
        self.ssh.iter().map(|key| format!("alice {}\n", key.public)).collect()
    }

    fn sign(&self, kind: usize, payload: &[u8]) -> Vec<u8> {
        let armour = match self.ssh.get(kind) {
            Some(key) => self.bench.sign(key, "git", "sha512", payload),
            None => self.gpg.sign(&self.openpgp[kind - self.ssh.len()], &[], payload),
        };
        signed(payload, &String::from_utf8(armour).unwrap())
    }
}

/// Commits of every form, signed as they are with keys of every kind, and changed after that: what git calls bad or unsigned is
/// never accepted, and some of what it accepts is.
#[test]
fn no_commit_that_git_refuses_is_accepted() {
    let bench = Bench::new();
    let gpg = Gpg::new(&bench, "gpg");
    let signers = Signers::new(&bench, &gpg);
    let repository = gpg.repository("random", &signers.openpgp[0], "sha1");
    let payload = repository.commit(&["-m", "first"]).1;
    repository.allow(&signers.allowed());
    let allowed_signers = Some(AllowedSigners::parse(&signers.allowed()).unwrap());
    let known = KnownSigners { allowed_signers, ..gpg.known() };
    let accepts = |raw: &[u8]| parse(raw).and_then(|commit| verify_signature_only(&commit, &known)).is_ok();
    for kind in 0..signers.count() {
        let raw = signers.sign(kind, &payload);
        assert!(accepts(&raw) && repository.git_verifies(&repository.plant(&raw)), "kind {kind}");
    }
    let edits = |most: usize| prop::collection::vec(edit(), 0..=most);
    let counts = std::cell::Cell::new([0_u32; 2]);
    let mut runner = TestRunner::new(config(128));
    let outcome = runner.run(&(0..signers.count(), edits(2), edits(1)), |(kind, before, after)| {
        let payload = before.iter().fold(payload.clone(), |raw, edit| edited(&raw, edit));
        let raw = after.iter().fold(signers.sign(kind, &payload), |raw, edit| edited(&raw, edit));
        let ours = accepts(&raw);
        let by_git = repository.git_verifies(&repository.plant(&raw));
        prop_assert!(by_git || !ours, "git refuses it: {}", String::from_utf8_lossy(&raw));
        let [accepted, by_git_alone] = counts.get();
        counts.set([accepted + u32::from(ours), by_git_alone + u32::from(by_git && !ours)]);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(counts.get().iter().all(|count| *count > 0), "the edits show nothing: {counts:?}");
}
