//! OpenPGP keys of principals: certificates that the trust file pins, commits and trust files that they sign.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;
#[path = "support/packets.rs"]
mod packets;

use manifest::Digest;
use memory::{BASE, Tree, World, code, config_map, path, person, policy, put_policy};
use packets::{Key, armor, old_packet, packet, subpacket, user};
use trust::{CommitId, Start, TrustFile};

/// A year before the commits.
const KEY_TIME: u32 = 1_735_689_600;
const USER: &str = "Bob <bob@example.com>";
const FILE: &str = ".writ/keys/bob.asc";

fn bob() -> Key {
    Key::new(4, 7, KEY_TIME)
}

/// The certificate of a key that signs, with more of what it says about itself.
fn certificate(key: &Key, more: &[u8]) -> Vec<u8> {
    let said = [subpacket(27, &[3]).as_slice(), more].concat();
    let binding = key.sign(&key.draft(0x13, KEY_TIME, &said), &[key.hashed(), user(USER)].concat());
    [packet(6, &key.body()), packet(13, USER.as_bytes()), packet(2, &binding)].concat()
}

/// The certificate of a key that was revoked: 0 without a reason, 3 as retired.
fn revoked(key: &Key, reason: u8, second: i64) -> Vec<u8> {
    let draft = key.draft(0x20, u32::try_from(second).unwrap(), &subpacket(29, &[reason]));
    let whole = certificate(key, &[]);
    let head = packet(6, &key.body());
    let rest = whole.strip_prefix(head.as_slice()).unwrap();
    [head.as_slice(), &packet(2, &key.sign(&draft, &key.hashed())), rest].concat()
}

/// What gpg writes for a message at this time.
fn detached(key: &Key, message: &[u8], second: i64) -> String {
    let mut draft = key.draft(0x00, u32::try_from(second).unwrap(), &[]);
    draft.unhashed = subpacket(16, &key.key_id());
    String::from_utf8(armor(&old_packet(2, &key.sign(&draft, message)), true)).unwrap()
}

/// The trust file in which bob has an OpenPGP key instead of an SSH key.
fn with_bob(version: u64, certificate: &[u8], edits: &[(&str, &str)]) -> String {
    let fingerprint = hex::encode(bob().fingerprint());
    let ssh = format!("{{ssh: \"{}\"}}", person("bob").public());
    let sha256 = Digest::of(certificate);
    let pin = format!("{{openpgp: {{fingerprint: {fingerprint}, certFile: {FILE}, sha256: \"{sha256}\"}}}}");
    policy(version, &[&[(ssh.as_str(), pin.as_str())], edits].concat())
}

fn put(tree: &mut Tree, text: &str, certificate: &[u8], signers: &[&str]) {
    put_policy(tree, text, signers);
    tree.insert(path(FILE), certificate.to_vec());
}

fn world(certificate: &[u8], edits: &[(&str, &str)]) -> World {
    let mut tree = Tree::new();
    put(&mut tree, &with_bob(1, certificate, edits), certificate, &["alice", "dave"]);
    tree.insert(path("apps/web.yaml"), config_map("web", 1).into_bytes());
    World::of(tree)
}

/// A commit that an OpenPGP key signs at its committer time.
fn by(world: &mut World, key: &Key, parent: CommitId, edit: impl FnOnce(&mut Tree)) -> CommitId {
    let unsigned = world.push(parent, None, edit);
    let (payload, tree) = (world.memory.raw(&unsigned).to_vec(), world.memory.tree(&unsigned));
    let time = world.memory.time(&unsigned);
    let header = format!("\ngpgsig {}\n\n", detached(key, &payload, time).trim_end().replace('\n', "\n "));
    let raw = String::from_utf8(payload).unwrap().replacen("\n\n", &header, 1);
    world.memory.plant(raw.into_bytes(), &[parent], tree, time)
}

fn changes_web(tree: &mut Tree) {
    tree.insert(path("apps/web.yaml"), config_map("web", 2).into_bytes());
}

#[test]
fn a_principal_signs_commits_with_a_certificate_that_is_pinned() {
    let pinned = certificate(&bob(), &[]);
    let mut world = world(&pinned, &[]);
    let start = world.introduction;
    let good = by(&mut world, &bob(), start, changes_web);
    let judgement = world.judge(&Start::Introduction, good);
    assert_eq!(judgement.refusal(), None);
    let signer = judgement.accepted().unwrap().signer().unwrap();
    assert_eq!((signer.principal.as_str(), signer.key.to_string()), ("bob", hex::encode_upper(bob().fingerprint())));
    // what follows is judged with the same certificate, from whichever start
    let next = by(&mut world, &bob(), good, |tree| _ = tree.insert(path("apps/x.yaml"), config_map("x", 1).into()));
    assert_eq!(code(&world.judge(&Start::Introduction, next)), "ok");
    assert_eq!(code(&world.judge(&Start::Accepted(good), next)), "ok");
    // others' rules stay others'
    let outside = by(&mut world, &bob(), start, |tree| _ = tree.insert(path("policies/a.txt"), b"x".to_vec()));
    assert_eq!(world.code(outside), "W302");
    // another key, and the SSH key that bob had before
    let stranger = by(&mut world, &Key::new(4, 8, KEY_TIME), start, changes_web);
    let judgement = world.judge(&Start::Introduction, stranger);
    let finding = judgement.refusal().unwrap();
    assert_eq!(finding.code.code, "W202");
    assert_eq!(
        finding.fix,
        "git -c gpg.format=openpgp -c user.signingkey=FINGERPRINT commit --amend --no-edit --gpg-sign # sign with an OpenPGP key in force of bob"
    );
    let before = world.put(start, "bob", "apps/web.yaml", &config_map("web", 2));
    assert_eq!(world.code(before), "W202");
    // where nobody has a certificate, the format itself is refused
    let mut plain = World::new();
    let start = plain.introduction;
    let commit = by(&mut plain, &bob(), start, changes_web);
    let judgement = plain.judge(&Start::Introduction, commit);
    let finding = judgement.refusal().unwrap();
    assert_eq!(finding.code.code, "W208");
    assert_eq!(finding.found, "an OpenPGP signature, and no principal has an OpenPGP key");
    assert!(finding.fix.starts_with("git -c gpg.format=ssh "), "{}", finding.fix);
    // whatever is in the armour
    let armour = "-----BEGIN PGP SIGNATURE-----\n\niHUEABYKAB0WIQ==\n-----END PGP SIGNATURE-----\n";
    let tree = plain.memory.tree(&start);
    let commit = plain.memory.store_signed(&[start], tree, Some(|_: &[u8]| armour.to_owned()), BASE + 60);
    assert_eq!(plain.code(commit), "W208");
}

#[test]
fn windows_and_revocations_of_the_trust_file_and_of_the_certificate() {
    let day = 86_400;
    let judged = |pinned: &[u8], edits: &[(&str, &str)], later: i64| {
        let mut world = world(pinned, edits);
        let start = world.introduction;
        let commit = by(&mut world, &bob(), start, changes_web);
        world.now = BASE + later;
        let below = code(&world.judge(&Start::Introduction, commit));
        (below, code(&world.judge(&Start::Accepted(start), commit)))
    };
    let good = certificate(&bob(), &[]);
    assert_eq!(judged(&good, &[], day), ("ok", "ok"));
    // notAfter of the trust file, and the end of the certificate: first sight counts above the floor
    let until = [("\"}}]}\n  carol", "\"}, notAfter: 2026-01-02T00:00:00Z}]}\n  carol")];
    assert_eq!(judged(&good, &until, day), ("ok", "ok"));
    assert_eq!(judged(&good, &until, day + 1), ("ok", "W204"));
    let end = u32::try_from(BASE + day).unwrap() - KEY_TIME;
    let ending = certificate(&bob(), &subpacket(9, &end.to_be_bytes()));
    assert_eq!(judged(&ending, &[], day - 1), ("ok", "ok"));
    assert_eq!(judged(&ending, &[], day), ("ok", "W204"));
    // revoked by its owner
    assert_eq!(judged(&revoked(&bob(), 0, BASE + day), &[], 1), ("W304", "W304"));
    assert_eq!(judged(&revoked(&bob(), 3, BASE + day), &[], day - 1), ("ok", "ok"));
    assert_eq!(judged(&revoked(&bob(), 3, BASE + day), &[], day), ("ok", "W304"));
    // revoked by the trust file
    let entry = format!("revoked: [{{key: {}, kind: hard, reason: lost}}]", hex::encode(bob().fingerprint()));
    assert_eq!(judged(&good, &[("revoked: []", &entry)], day), ("W304", "W304"));
}

#[test]
fn a_certificate_is_another_or_missing() {
    let good = certificate(&bob(), &[]);
    let text = with_bob(1, &good, &[]);
    let judged = |text: &str, file: Option<&[u8]>| {
        let mut tree = Tree::new();
        put_policy(&mut tree, text, &["alice", "dave"]);
        tree.extend(file.map(|bytes| (path(FILE), bytes.to_vec())));
        let world = World::of(tree);
        let judgement = world.judge(&Start::Introduction, world.introduction);
        judgement.refusal().map_or("ok".to_owned(), |finding| format!("{} {}", finding.code.code, finding.found))
    };
    assert_eq!(judged(&text, Some(&good)), "ok");
    assert_eq!(judged(&text, None), "W502 not there");
    let other = certificate(&Key::new(4, 8, KEY_TIME), &[]);
    assert_eq!(judged(&text, Some(&other)), format!("W502 a file of sha256 {}", Digest::of(&other)));
    let fingerprint = hex::encode_upper(Key::new(4, 8, KEY_TIME).fingerprint());
    assert_eq!(judged(&with_bob(1, &other, &[]), Some(&other)), format!("W502 the certificate {fingerprint}"));
    let text = with_bob(1, b"x", &[]);
    assert!(judged(&text, Some(b"x")).starts_with("W502 not an armoured PGP PUBLIC KEY BLOCK"));
}

/// The state after such a step could not be loaded.
#[test]
fn a_certificate_changes_with_the_trust_file_only() {
    let good = certificate(&bob(), &[]);
    let longer = certificate(&bob(), &subpacket(9, &(400_u32 * 86_400).to_be_bytes()));
    let mut world = world(&good, &[("{role: root, threshold: 2}", "{role: root, threshold: 1}")]);
    let start = world.introduction;
    let alone = world.push(start, Some("alice"), |tree| _ = tree.insert(path(FILE), longer.clone()));
    assert_eq!(world.code(alone), "W502");
    let removed = world.push(start, Some("alice"), |tree| _ = tree.remove(&path(FILE)));
    assert_eq!(world.code(removed), "W502");
    let edits = [("{role: root, threshold: 2}", "{role: root, threshold: 1}")];
    let together = world.push(start, Some("alice"), |tree| {
        put(tree, &with_bob(2, &longer, &edits), &longer, &["alice", "dave"]);
    });
    assert_eq!(world.code(together), "ok");
    let next = by(&mut world, &bob(), together, changes_web);
    assert_eq!(world.code(next), "ok");
    let digest = |commit| world.judge(&Start::Introduction, commit).accepted().unwrap().trust_digest();
    assert_ne!(digest(start), digest(together), "the trust digest covers the certificates");
}

#[test]
fn trust_files_are_signed_by_certificates() {
    let good = certificate(&bob(), &[]);
    let edits = [("root: [alice, dave]", "root: [alice, bob, dave]")];
    let signed = |signature: &dyn Fn(&str) -> (String, String)| {
        let mut world = world(&good, &edits);
        let start = world.introduction;
        let text = with_bob(2, &good, &edits);
        let commit = by(&mut world, &bob(), start, |tree| {
            put(tree, &text, &good, &["alice"]);
            let (name, armoured) = signature(&text);
            tree.insert(path(&format!(".writ/trust.yaml.sigs/{name}")), armoured.into_bytes());
        });
        world.code(commit)
    };
    let later = BASE + 60;
    assert_eq!(signed(&|text| ("bob.asc".into(), detached(&bob(), text.as_bytes(), later))), "ok");
    assert_eq!(signed(&|text| ("carol.asc".into(), detached(&bob(), text.as_bytes(), later))), "W504");
    assert_eq!(signed(&|text| ("bob.sig".into(), detached(&bob(), text.as_bytes(), later))), "W504");
    assert_eq!(signed(&|_text| ("bob.asc".into(), detached(&bob(), b"other", later))), "W504");
    let stranger = Key::new(4, 8, KEY_TIME);
    assert_eq!(signed(&|text| ("bob.asc".into(), detached(&stranger, text.as_bytes(), later))), "W504");
    assert_eq!(signed(&|text| ("bob.gpg".into(), detached(&bob(), text.as_bytes(), later))), "W502");
}

#[test]
fn a_certificate_that_cannot_sign_brings_no_threshold_within_reach() {
    let edits = [("root: [alice, dave]", "root: [alice, bob]")];
    for (pinned, wanted) in [(certificate(&bob(), &[]), "ok"), (revoked(&bob(), 0, BASE), "W506")] {
        let mut world = World::new();
        let text = with_bob(2, &pinned, &edits);
        let head = world.push(world.introduction, Some("alice"), |tree| {
            put(tree, &text, &pinned, &["alice", "dave"]);
            let armoured = detached(&bob(), text.as_bytes(), BASE + 60);
            tree.insert(path(".writ/trust.yaml.sigs/bob.asc"), armoured.into_bytes());
        });
        assert_eq!(world.code(head), wanted);
    }
}

#[test]
fn mistakes_are_named_with_their_place() {
    let good = certificate(&bob(), &[]);
    let text = with_bob(1, &good, &[]);
    assert!(TrustFile::parse(text.as_bytes()).is_ok());
    let fingerprint = hex::encode(bob().fingerprint());
    let pin = |text: &str| format!("{{openpgp: {{{text}}}}}");
    let whole = text.split_once("{openpgp: {").unwrap().1.split_once("}}").unwrap().0.to_owned();
    let other = format!("ssh: \"{}\", openpgp: {{{whole}}}", person("bob").public());
    let table = [
        (pin(&whole.replace(&fingerprint, "ABCD")), "\"ABCD\" in a key of principal bob"),
        (pin(&whole.replace(FILE, "keys/bob.asc")), "\"keys/bob.asc\" in a key of principal bob"),
        (
            pin(&whole.replace(FILE, ".writ/keys/../trust.yaml")),
            "\".writ/keys/../trust.yaml\" in a key of principal bob",
        ),
        (pin(&whole.replace(FILE, ".writ/keysbob.asc")), "\".writ/keysbob.asc\" in a key of principal bob"),
        (pin(&whole.replace("sha256: \"", "sha256: \"0")), "in a key of principal bob"),
        (pin(&format!("fingerprint: {fingerprint}")), "certFile"),
        (pin(&format!("{whole}, keyId: 1")), "keyId"),
        (format!("{{{other}}}"), "a key of principal bob is of 2 formats"),
    ];
    for (key, expected) in table {
        let edited = text.replacen(&pin(&whole), &key, 1);
        assert_ne!(edited, text);
        let findings = TrustFile::parse(edited.as_bytes()).unwrap_err();
        let found: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|finding| finding.contains(expected)), "{expected}: {found:#?}");
        assert!(findings.iter().all(|finding| finding.code.code == "W502"), "{found:#?}");
    }
    // one certificate of two people
    let twice = text.replacen(&format!("{{ssh: \"{}\"}}", person("carol").public()), &pin(&whole), 1);
    let findings = TrustFile::parse(twice.as_bytes()).unwrap_err();
    assert!(findings.iter().any(|finding| finding.found.contains("is there already, for bob")));
}
