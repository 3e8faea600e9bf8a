//! The verdict on Sigstore bundles of a private Sigstore that is made at run time.

#![expect(clippy::unwrap_used, reason = "tests")]

use evidence::KeylessSignatures;
use jiff::Timestamp;
use testkit::{Account, Blob, Flaw, Sigstore};
use trust::{Bundled, KeylessVerifier as _};

const MESSAGE: &[u8] = b"apiVersion: writ.dev/v1alpha1\nkind: TrustPolicy\n";
/// A statement like ours: what it is about has a digest that the verifier knows besides.
const STATEMENT: &[u8] = br#"{"_type":"https://in-toto.io/Statement/v1","predicate":{},"predicateType":"https://writ.dev/test/v1","subject":[{"digest":{"gitTree":"4b825dc642cb6eb9a060e54bf8d69288fbee4904","sha256":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},"name":"refs/heads/main"}]}"#;
const GOOD: &str = "carol@example.com of https://accounts.example.com at 2026-01-02T03:04:06Z";

fn at() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn carol() -> Account {
    Account { issuer: "https://accounts.example.com".to_owned(), identity: "carol@example.com".to_owned() }
}

struct World {
    sigstore: Sigstore,
    verifier: KeylessSignatures,
}

impl World {
    fn new() -> Self {
        let sigstore = Sigstore::generate("2026-01-01T00:00:00Z".parse().unwrap()).unwrap();
        let verifier = KeylessSignatures::by(&sigstore.trusted_root().unwrap()).unwrap();
        Self { sigstore, verifier }
    }

    fn bundle(&self, blob: Blob<'_>, flaws: &[Flaw]) -> String {
        self.sigstore.bundle(blob, &carol(), at(), flaws).unwrap()
    }

    /// Who signed and when, or code and reason.
    fn verdict(&self, bundle: &str, about: Bundled<'_>) -> String {
        match self.verifier.verify_bundle(bundle.as_bytes(), about) {
            Ok(good) => format!("{} at {}", good.signer, good.time),
            Err(error) => format!("{:?}: {error}", error.code()),
        }
    }

    /// The verdicts on a message and on a statement with these flaws.
    fn both(&self, flaws: &[Flaw]) -> [String; 2] {
        [
            self.verdict(&self.bundle(Blob::Message(MESSAGE), flaws), Bundled::Message(MESSAGE)),
            self.verdict(&self.bundle(Blob::Statement(STATEMENT), flaws), Bundled::Statement(STATEMENT)),
        ]
    }
}

#[test]
fn what_cosign_signs_is_good() {
    let world = World::new();
    assert_eq!(world.both(&[]), [GOOD, GOOD]);
    assert_eq!(world.both(&[Flaw::Timestamp]), [GOOD, GOOD]);
    // a timestamp stands for the time that the log did not promise
    let stamped = GOOD.replace(":06Z", ":07Z");
    assert_eq!(world.both(&[Flaw::NoPromise, Flaw::Timestamp]), [stamped.as_str(), &stamped]);
}

#[test]
fn what_can_be_wrong_with_a_bundle_is_refused_by_its_code() {
    let world = World::new();
    let table: &[(&[Flaw], &str)] = &[
        (&[Flaw::NoSct], "W206: invalid signed certificate timestamp: "),
        (&[Flaw::Sct], "W206: invalid signed certificate timestamp: "),
        (&[Flaw::Mail], "W208: a certificate that names no identity provider"),
        (&[Flaw::NoPromise], "W205: a log entry whose time nobody has signed, and no timestamp"),
        (&[Flaw::Promise], "W206: invalid inclusion promise: "),
        (&[Flaw::Promise, Flaw::Timestamp], "W206: invalid inclusion promise: "),
        (&[Flaw::NoProof], "W206: a log entry without inclusion proof"),
        (&[Flaw::Proof], "W206: invalid inclusion proof: "),
        (&[Flaw::Checkpoint], "W206: invalid checkpoint: "),
        (&[Flaw::CheckpointSize], "W206: a log entry whose checkpoint is of a tree of another size"),
        (&[Flaw::OtherEntry], "W206: "),
        (&[Flaw::Late], "W206: "),
        (&[Flaw::Online], "W205: a bundle without log entry"),
        (&[Flaw::Online, Flaw::Timestamp], "W205: a bundle without log entry"),
        (&[Flaw::TwoEntries], "W201: the Sigstore bundle is refused: it holds 2 log entries"),
        (&[Flaw::OldBundle], "W201: the Sigstore bundle is refused: it is application/vnd.dev.sigstore.bundle+json;"),
        (&[Flaw::OtherTimestamp], "W206: invalid RFC 3161 timestamp: "),
    ];
    for (flaws, expected) in table {
        for verdict in world.both(flaws) {
            assert!(verdict.starts_with(expected), "{flaws:?}: {verdict}");
        }
    }
    let [verdict, _] = world.both(&[Flaw::Sha1]);
    assert!(verdict.starts_with("W203: a digest of type "), "{verdict}");
}

#[test]
fn a_bundle_is_about_one_thing() {
    let (world, other) = (World::new(), World::new());
    let (message, statement) =
        (world.bundle(Blob::Message(MESSAGE), &[]), world.bundle(Blob::Statement(STATEMENT), &[]));
    let mismatch = "W201: the signature does not fit these bytes: ";
    assert!(world.verdict(&message, Bundled::Message(b"other")).starts_with(mismatch));
    let changed = String::from_utf8_lossy(STATEMENT).replace("heads/main", "heads/else");
    let verdict = world.verdict(&statement, Bundled::Statement(changed.as_bytes()));
    assert_eq!(verdict, format!("{mismatch}it holds another statement"));
    // what is put in its place is not what was signed
    let encode = |bytes: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
    let forged = statement.replace(&encode(STATEMENT), &encode(changed.as_bytes()));
    assert_ne!(forged, statement);
    assert!(world.verdict(&forged, Bundled::Statement(changed.as_bytes())).starts_with(mismatch));
    let verdict = world.verdict(&message, Bundled::Statement(STATEMENT));
    assert_eq!(verdict, "W201: the Sigstore bundle is refused: it holds no envelope with a statement");
    let verdict = world.verdict(&statement, Bundled::Message(STATEMENT));
    assert_eq!(verdict, "W201: the Sigstore bundle is refused: it holds no signature of a message");
    for (bundle, about) in [(&message, Bundled::Message(MESSAGE)), (&statement, Bundled::Statement(STATEMENT))] {
        assert!(other.verdict(bundle, about).starts_with("W206: "), "another trust root");
    }
    // the proof of one is none for the other
    let entry = |text: &str| {
        serde_json::from_str::<serde_json::Value>(text).unwrap()["verificationMaterial"]["tlogEntries"].clone()
    };
    let mut swapped: serde_json::Value = serde_json::from_str(&message).unwrap();
    *swapped.pointer_mut("/verificationMaterial/tlogEntries").unwrap() =
        entry(&world.bundle(Blob::Message(MESSAGE), &[]));
    let verdict = world.verdict(&swapped.to_string(), Bundled::Message(MESSAGE));
    assert!(verdict.starts_with("W206: "), "{verdict}");
    *swapped.pointer_mut("/verificationMaterial/tlogEntries").unwrap() = entry(&statement);
    let verdict = world.verdict(&swapped.to_string(), Bundled::Message(MESSAGE));
    assert_eq!(verdict, "W208: a log entry of kind dsse 0.0.1 for what is signed");
}

#[test]
fn odd_input_is_refused() {
    let world = World::new();
    let good = world.bundle(Blob::Message(MESSAGE), &[]);
    let long = format!("{good}{}", " ".repeat(trust::MAX_BUNDLE_BYTES));
    let nested = format!("{}{}", "{\"a\":".repeat(2_000), "1");
    for input in ["", "{}", "[]", "null", "{\"mediaType\":1}", &nested, &long, &good.replace("rawBytes", "raw")] {
        let verdict = world.verdict(input, Bundled::Message(MESSAGE));
        assert!(verdict.starts_with("W201: the Sigstore bundle is refused: "), "{verdict}");
    }
    let unsubjected = br#"{"_type":"https://in-toto.io/Statement/v1","predicate":{},"predicateType":"t","subject":[{"digest":{"gitTree":"00"},"name":"n"}]}"#;
    let verdict = world.verdict(&world.bundle(Blob::Statement(unsubjected), &[]), Bundled::Statement(unsubjected));
    assert!(verdict.ends_with("its statement has no subject with a SHA-256 digest"), "{verdict}");
}
