//! The verdict on signatures of a private Sigstore that is made at run time.

#![expect(clippy::unwrap_used, reason = "tests")]

use evidence::{KeylessSignatures, TrustedRootError};
use jiff::Timestamp;
use testkit::{Account, Flaw, Sigstore};
use trust::{KeylessError, KeylessRefresh, KeylessTrust, KeylessVerifier as _};

const MESSAGE: &[u8] = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\nmessage\n";

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

    fn cms(&self, flaws: &[Flaw]) -> Vec<u8> {
        self.sigstore.message(MESSAGE, &carol(), at(), flaws).unwrap()
    }

    /// Who signed and when, or code and reason.
    fn verdict(&self, cms: &[u8]) -> String {
        told(self.verifier.verify(cms, MESSAGE).map(|good| format!("{} at {}", good.signer, good.time)))
    }
}

fn told(verdict: Result<String, KeylessError>) -> String {
    verdict.unwrap_or_else(|error| format!("{:?}: {error}", error.code()))
}

#[test]
fn what_gitsign_signs_offline_is_good() {
    let world = World::new();
    let good = "carol@example.com of https://accounts.example.com at 2026-01-02T03:04:06Z";
    assert_eq!(world.verdict(&world.cms(&[])), good);
    assert_eq!(world.verdict(&world.cms(&[Flaw::Timestamp])), good);
    // a timestamp stands for the time that the log did not promise
    let stamped = world.verdict(&world.cms(&[Flaw::NoPromise, Flaw::Timestamp]));
    assert_eq!(stamped, good.replace(":06Z", ":07Z"));
    let workflow = "https://github.com/org/repo/.github/workflows/bump.yml@refs/heads/main";
    let account = Account { identity: workflow.to_owned(), ..carol() };
    let cms = world.sigstore.message(MESSAGE, &account, at(), &[]).unwrap();
    assert!(world.verdict(&cms).starts_with(workflow));
    let long = Account { identity: format!("{}@example.com", "c".repeat(1_024)), ..carol() };
    let long = world.sigstore.message(MESSAGE, &long, at(), &[]).unwrap();
    assert_eq!(world.verdict(&long), "W206: a certificate for a name that is too long");
    let claimed = world.verifier.claimed(&cms).unwrap();
    assert_eq!((claimed.issuer, claimed.identity), (account.issuer, account.identity));
}

#[test]
fn each_thing_that_can_be_wrong_is_refused_by_its_code() {
    let world = World::new();
    let table: &[(&[Flaw], &str)] = &[
        (&[Flaw::Attributes], "W201: the signature does not fit these bytes: "),
        (&[Flaw::Order], "W201: the CMS message is refused: it is not in the one form of DER"),
        (&[Flaw::NoSct], "W206: invalid signed certificate timestamp: "),
        (&[Flaw::Sct], "W206: invalid signed certificate timestamp: "),
        (&[Flaw::Mail], "W208: an S/MIME signature, which is not supported"),
        (&[Flaw::NoPromise], "W205: a log entry whose time nobody has signed, and no timestamp"),
        (&[Flaw::Promise], "W206: invalid inclusion promise: "),
        (&[Flaw::Promise, Flaw::Timestamp], "W206: invalid inclusion promise: "),
        (&[Flaw::NoProof], "W206: a log entry without inclusion proof"),
        (&[Flaw::Proof], "W206: invalid inclusion proof: "),
        (&[Flaw::Checkpoint], "W206: invalid checkpoint: "),
        (&[Flaw::CheckpointSize], "W206: a log entry whose checkpoint is of a tree of another size"),
        (&[Flaw::BodyInside], "W201: the CMS message is refused: the log entry: a field that is unknown"),
        (&[Flaw::OtherEntry], "W206: "),
        (&[Flaw::Late], "W206: "),
        (&[Flaw::Online], "W205: a keyless signature without its log entry, as gitsign makes it in online mode"),
        (&[Flaw::Online, Flaw::Timestamp], "W205: "),
        (&[Flaw::TwoSigners], "W201: the CMS message is refused: it is by 2 signers"),
        (&[Flaw::NoCertificate], "W201: the CMS message is refused: it holds 0 certificates"),
        (&[Flaw::TwoCertificates], "W201: the CMS message is refused: it holds 2 certificates"),
        (&[Flaw::OtherTimestamp], "W206: invalid RFC 3161 timestamp: "),
        (&[Flaw::Attached], "W201: the CMS message is refused: it is not the detached signature of plain data"),
        (&[Flaw::Sha1], "W203: a digest of type 1.3.14.3.2.26, not SHA-256"),
    ];
    for (flaws, expected) in table {
        let verdict = world.verdict(&world.cms(flaws));
        assert!(verdict.starts_with(expected), "{flaws:?}: {verdict}");
    }
}

#[test]
fn other_bytes_and_another_root_are_refused() {
    let (world, other) = (World::new(), World::new());
    let cms = world.cms(&[]);
    let verdict = told(world.verifier.verify(&cms, b"other").map(|_good| "good".to_owned()));
    assert_eq!(verdict, "W201: the signature does not fit these bytes: its digest is that of other bytes");
    assert!(other.verdict(&cms).starts_with("W206: "), "{}", other.verdict(&cms));
    let public = KeylessSignatures::of(None).unwrap();
    assert_eq!(public.verify(&cms, MESSAGE).unwrap_err().code(), trust::TrustCode::W206);
    assert_ne!(public.basis(), world.verifier.basis());
    assert_eq!(public.basis(), KeylessSignatures::basis_of(None));
    let own = KeylessTrust { trusted_root: Some(world.sigstore.trusted_root().unwrap()), refresh: None };
    assert_eq!(KeylessSignatures::of(Some(&own)).unwrap().basis(), KeylessSignatures::basis_of(Some(&own)));
    assert_ne!(other.verifier.basis(), world.verifier.basis());
}

/// Of a repository of one's own: what the public Sigstore vouches for is nothing there.
#[test]
fn where_no_trust_root_was_fetched_yet_nothing_is_good() {
    let world = World::new();
    let of = |root: Option<&str>, fetched: Option<String>| {
        let refresh = KeylessRefresh { root: root.map(str::to_owned), ..KeylessRefresh::default() };
        let keyless = KeylessTrust { trusted_root: fetched, refresh: Some(refresh) };
        let made = KeylessSignatures::of(Some(&keyless)).unwrap();
        assert_eq!(made.basis(), KeylessSignatures::basis_of(Some(&keyless)));
        made
    };
    let nothing = of(Some("root.json"), None);
    let told = told(nothing.verify(&world.cms(&[]), MESSAGE).map(|_good| "good".to_owned()));
    assert_eq!(told, "W206: nothing to verify it by: no trust root was fetched yet");
    assert!(!nothing.has_trusted_root() && nothing.claimed(&world.cms(&[])).is_some());
    assert_eq!(of(None, None).basis(), KeylessSignatures::of(None).unwrap().basis(), "the one that is built in");
    assert_eq!(of(None, Some(String::new())).basis(), nothing.basis());
    let text = world.sigstore.trusted_root().unwrap();
    let fetched = of(Some("root.json"), Some(text.clone()));
    assert_eq!(fetched.basis(), KeylessSignatures::by(&text).unwrap().basis());
    assert!(fetched.verify(&world.cms(&[]), MESSAGE).is_ok());
}

/// Not one byte can be another, or missing, or one more. (Of a timestamp not all bytes are signed.)
#[test]
fn no_edit_of_a_good_signature_is_good() {
    let world = World::new();
    let good = world.cms(&[]);
    assert!(world.verdict(&good).starts_with("carol@example.com "));
    for place in 0..good.len() {
        let mut edited = good.clone();
        if let Some(byte) = edited.get_mut(place) {
            *byte ^= 1;
        }
        assert!(world.verdict(&edited).starts_with('W'), "byte {place}");
        if place.is_multiple_of(16) {
            assert!(world.verdict(good.get(..place).unwrap()).starts_with('W'), "{place} bytes");
        }
    }
    assert!(world.verdict(&[good.as_slice(), &[0]].concat()).starts_with("W201: "));
}

#[test]
fn odd_input_is_refused() {
    let world = World::new();
    let nested = [[0x30, 0x84, 0, 0, 0x10, 0].as_slice(), &[0x30, 0x82, 0x0f, 0xf0].repeat(1_000)].concat();
    let inputs: [(&[u8], &str); 5] = [
        (&[], "W201: "),
        (&[0x30, 0x00], "W201: "),
        (&[0x30, 0x80, 0x06], "W208: an S/MIME signature"),
        (&nested, "W201: "),
        (&vec![0x30; evidence::MAX_CMS_BYTES + 1], "W201: the CMS message is refused: 24577 bytes are more than 24576"),
    ];
    for (input, expected) in inputs {
        assert!(world.verdict(input).starts_with(expected), "{}", world.verdict(input));
        assert_eq!(world.verifier.claimed(input), None);
    }
}

#[test]
fn a_trust_root_that_proves_nothing_is_refused() {
    let whole = World::new().sigstore.trusted_root().unwrap();
    let error = |text: &str| KeylessSignatures::by(text).err();
    assert!(matches!(error("{}"), Some(TrustedRootError::Form(_))));
    for field in ["certificateAuthorities", "ctlogs", "tlogs"] {
        let without = whole.replace(&format!("\"{field}\""), "\"other\"");
        assert_eq!(error(&without), Some(TrustedRootError::Missing(field)));
    }
    let long = format!("{whole}{}", " ".repeat(trust::MAX_TRUSTED_ROOT_BYTES));
    assert_eq!(error(&long), Some(TrustedRootError::TooLong(long.len())));
    let broken = whole.replace("\"rawBytes\":\"MFk", "\"rawBytes\":\"MFl");
    assert!(matches!(error(&broken), Some(TrustedRootError::Material(_))));
}
