//! Certificates in the trust file: whom they stand for, and what makes them count for nobody.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;
mod token;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use memory::{BASE, Tree, World, config_map, path, person, policy, put_policy};
use sha2::{Digest as _, Sha256};
use token::{
    Token, Use, armored,
    certificate::{Fields, plain_blob, plain_signature},
    sshsig_data, string,
};
use trust::{CommitId, NAMESPACE_GIT, NAMESPACE_TRUST, PublicKey, Start, TrustFile};

const BOB: &str = "bob@example.com";

/// The key of a name, as `memory` makes it for a person of that name.
fn pair(name: &str) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&Sha256::digest(format!("key of {name}"))).unwrap()
}

fn public(name: &str) -> String {
    format!("ssh-ed25519 {}", STANDARD.encode(plain_blob(&pair(name))))
}

fn fingerprint(name: &str) -> String {
    PublicKey::parse(&public(name)).unwrap().fingerprint().to_string()
}

/// A trust file in which bob has no key but what `ssh-ca` calls him.
fn certified(version: u64, edits: &[(&str, &str)]) -> String {
    let bob = format!("{{ssh: \"{}\"}}", person("bob").public());
    let ca = format!(
        "  ssh-ca: {{kind: ca, key: \"{}\", principals: [\"*@example.com\", \"!root@*\"], maxValidity: 8h}}\nroles:",
        public("ca")
    );
    let named = format!("{{sshCertificate: {{ca: ssh-ca, principal: \"{BOB}\"}}}}");
    let mut text = policy(version, &[(&bob, &named), ("roles:", &ca)]);
    for (from, to) in edits {
        assert!(text.contains(from), "{from:?} is not in the trust file");
        text = text.replace(from, to);
    }
    text
}

fn fields() -> Fields {
    let key = string(pair("laptop").public_key().as_ref());
    Fields { window: [BASE as u64, BASE as u64 + 3600], ..Fields::of(key, plain_blob(&pair("ca")), BOB) }
}

/// A signature with this certificate, of any authority.
fn sign(fields: &Fields, authority: &str, namespace: &str, message: &[u8]) -> Vec<u8> {
    let blob = fields.blob(|data| plain_signature(&pair(authority), data));
    armored(&blob, namespace, &plain_signature(&pair("laptop"), &sshsig_data(namespace, message)))
}

fn put(world: &mut World, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> CommitId {
    let mut tree = world.memory.tree(&world.introduction);
    tree.insert(path("apps/web.yaml"), config_map("web", 2).into_bytes());
    let sign = |payload: &[u8]| String::from_utf8(sign(payload)).unwrap();
    world.memory.store_signed(&[world.introduction], tree, Some(sign), BASE + 60)
}

/// What is said of a commit with such a certificate, below the floor.
fn verdict(edits: &[(&str, &str)], change: impl FnOnce(&mut Fields)) -> Result<String, (&'static str, String)> {
    let mut world = World::with(&certified(1, edits));
    let mut fields = fields();
    change(&mut fields);
    let commit = put(&mut world, |payload| sign(&fields, "ca", NAMESPACE_GIT, payload));
    let judgement = world.judge(&Start::Introduction, commit);
    match judgement.refusal() {
        Some(finding) => Err((finding.code.code, finding.found.to_string())),
        None => {
            let signer = judgement.accepted().unwrap().signer().unwrap().clone();
            Ok(format!("{} {} {}", signer.principal, signer.key, signer.ca.unwrap()))
        }
    }
}

#[test]
fn credit_goes_to_the_principal_that_the_certificate_names() {
    let wanted = format!("bob {} {}", fingerprint("laptop"), fingerprint("ca"));
    assert_eq!(verdict(&[], |_| {}), Ok(wanted.clone()));
    // Other names that the authority may give and that are nobody here change nothing.
    let more = |one: &mut Fields| one.principals.extend(string(b"sre@example.com"));
    assert_eq!(verdict(&[], more), Ok(wanted));
}

#[test]
fn the_signer_is_logged_with_the_authority() {
    let mut world = World::with(&certified(1, &[]));
    let commit = put(&mut world, |payload| sign(&fields(), "ca", NAMESPACE_GIT, payload));
    let judgement = world.judge(&Start::Introduction, commit);
    let logged = judgement.accepted().unwrap().log_fields(&world.root);
    assert_eq!((&logged.subject["principal"], &logged.subject["ca"]), (&"bob".to_owned(), &fingerprint("ca")));
    let json = serde_json::to_value(judgement.accepted().unwrap().signer().unwrap()).unwrap();
    assert_eq!(json["ca"], fingerprint("ca"));
}

/// The refusal has this code, says this, and names the key.
fn refused(name: &str, edits: &[(&str, &str)], change: impl FnOnce(&mut Fields), code: &str, text: &str) {
    let (found, message) = verdict(edits, change).unwrap_err();
    assert_eq!(found, code, "{name}: {message}");
    assert!(message.contains(text), "{name}: {message}");
    assert!(message.contains(&fingerprint("laptop")), "{name}: {message}");
}

#[test]
fn what_a_certificate_says_can_make_it_count_for_nobody() {
    type Change = fn(&mut Fields);
    let cases: [(&str, Change, &str, &str); 9] = [
        ("outside the patterns", |one| one.principals.extend(string(b"bob@other.org")), "W207", "names bob@other.org"),
        (
            "excluded by a pattern",
            |one| one.principals.extend(string(b"root@example.com")),
            "W207",
            "names root@example.com",
        ),
        (
            "nobody here",
            |one| one.principals = string(b"eve@example.com"),
            "W202",
            "for eve@example.com, of whom none is a principal",
        ),
        ("in capitals", |one| one.principals = string(b"Bob@example.com"), "W202", "of whom none is a principal"),
        ("for too long", |one| one.window[1] = one.window[0] + 8 * 3600 + 1, "W207", "is valid for 28801 s"),
        ("for ever", |one| one.window = [0, u64::MAX], "W207", "is valid for"),
        ("for no time", |one| one.window[1] = one.window[0], "W204", "the commit is of"),
        ("not yet valid", |one| one.window[0] += 61, "W204", "the commit is of"),
        ("valid no more", |one| one.window[1] = one.window[0] + 60, "W204", "the commit is of"),
    ];
    for (name, change, code, text) in cases {
        refused(name, &[], change, code, text);
    }
}

#[test]
fn what_the_file_says_can_make_a_certificate_count_for_nobody() {
    let revoked = |what: &str| format!("revoked: [{{{what}}}]");
    let key = |name: &str| revoked(&format!("key: \"{}\", kind: hard, reason: lost", fingerprint(name)));
    for (name, to, text) in [
        ("a revoked key", key("laptop"), "is revoked (lost)"),
        ("a revoked authority", key("ca"), "is revoked (lost)"),
        (
            "a revoked number",
            revoked("ca: ssh-ca, serial: 5, reason: lost"),
            "certificate 5 of ssh-ca is revoked (lost)",
        ),
        ("a revoked range", revoked("ca: ssh-ca, serial: \"2-5\""), "certificates 2 to 5 of ssh-ca"),
        ("a revoked name", revoked("ca: ssh-ca, keyId: laptop"), "certificate \"laptop\" of ssh-ca"),
    ] {
        refused(name, &[("revoked: []", &to)], |_| {}, "W304", text);
    }
    assert!(verdict(&[("revoked: []", &revoked("ca: ssh-ca, serial: 6"))], |_| {}).is_ok());
    let carol = format!("{{ssh: \"{}\"}}", person("carol").public());
    let listed = format!("{{ssh: \"{}\"}}", public("laptop"));
    refused("a key listed for another", &[(&carol, &listed)], |_| {}, "W207", "but listed as a key of carol");
    let named = "{sshCertificate: {ca: ssh-ca, principal: \"carol@example.com\"}}";
    let both = |one: &mut Fields| one.principals.extend(string(b"carol@example.com"));
    refused("two principals", &[(&carol, named)], both, "W207", "who are bob and carol");
    let ended = ("}}]}", "}, notAfter: \"2026-01-01T00:00:59Z\"}]}");
    refused("what ended", &[ended], |_| {}, "W204", "which ended 2026-01-01T00:00:59Z");
}

#[test]
fn an_authority_that_the_file_does_not_name_is_nobody() {
    let mut world = World::with(&certified(1, &[]));
    let fields = Fields { authority: plain_blob(&pair("mallory")), ..fields() };
    let commit = put(&mut world, |payload| sign(&fields, "mallory", NAMESPACE_GIT, payload));
    let judgement = world.judge(&Start::Introduction, commit);
    let finding = judgement.refusal().unwrap();
    assert_eq!((finding.code.code, finding.found.contains("which is no authority")), ("W202", true), "{finding}");
    // The authority itself signs nothing.
    let commit = put(&mut world, |payload| person("ca").sign(NAMESPACE_GIT, payload).into_bytes());
    assert_eq!(world.code(commit), "W202");
}

/// A certificate for a key that is listed does not make the signature one of the key.
#[test]
fn a_certificate_of_anybody_over_a_listed_key_is_refused() {
    let mut world = World::new();
    let key = string(pair("bob").public_key().as_ref());
    let fields = Fields::of(key, plain_blob(&pair("mallory")), BOB);
    let commit = put(&mut world, |payload| {
        let blob = fields.blob(|data| plain_signature(&pair("mallory"), data));
        armored(&blob, NAMESPACE_GIT, &plain_signature(&pair("bob"), &sshsig_data(NAMESPACE_GIT, payload)))
    });
    assert_eq!(world.code(commit), "W202");
}

/// Above the floor a certificate must still be valid when the commit is seen: setting back the clock does not help.
#[test]
fn above_the_floor_first_sight_counts() {
    let mut world = World::with(&certified(1, &[]));
    let commit = put(&mut world, |payload| sign(&fields(), "ca", NAMESPACE_GIT, payload));
    for (now, wanted) in [(BASE + 3599, "ok"), (BASE + 3600, "W204")] {
        world.now = now;
        assert_eq!(memory::code(&world.judge(&Start::Accepted(world.introduction), commit)), wanted);
        assert_eq!(world.code(commit), "ok", "below it the time of the commit counts");
    }
}

#[test]
fn security_keys_need_a_touch_with_a_certificate_too() {
    for (edit, flags, wanted) in [
        ("", 0, "W207"),
        ("", 1, "ok"),
        (", userPresence: notRequired", 0, "ok"),
        (", userVerification: required", 1, "W207"),
        (", userVerification: required", 5, "ok"),
    ] {
        let (from, to) = ("}}]}", format!("}}{edit}}}]}}"));
        let mut world = World::with(&certified(1, &[(from, &to)]));
        let token = Token::ed25519();
        let fields = Fields { name: "sk-ssh-ed25519-cert-v01@openssh.com", key: token.fields(), ..fields() };
        let commit = put(&mut world, |payload| {
            let blob = fields.blob(|data| plain_signature(&pair("ca"), data));
            let how = Use { flags, ..Use::default() };
            armored(&blob, NAMESPACE_GIT, &token.signature(&how, &sshsig_data(NAMESPACE_GIT, payload)))
        });
        assert_eq!(world.code(commit), wanted, "{edit} {flags}");
    }
    // A key outside a token cannot prove what is asked.
    for field in [", userPresence: required", ", userVerification: required"] {
        let to = format!("}}{field}}}]}}");
        assert_eq!(verdict(&[("}}]}", &to)], |_| {}).unwrap_err().0, "W207");
    }
}

#[test]
fn a_trust_file_is_signed_with_a_certificate_too() {
    let dave = format!("{{ssh: \"{}\"}}", person("dave").public());
    let named = "{sshCertificate: {ca: ssh-ca, principal: \"dave@example.com\"}}";
    let text = |version: u64| certified(version, &[(&dave, named)]);
    let judge = |principal: &str, now: i64| {
        let mut tree = Tree::new();
        // The introduction needs root keys: dave's is one there, but the rules of the file ask for his certificate.
        put_policy(&mut tree, &text(1), &["alice"]);
        let of = |text: &str, principal: &str| {
            let fields = Fields { principals: string(principal.as_bytes()), ..fields() };
            sign(&fields, "ca", NAMESPACE_TRUST, text.as_bytes())
        };
        tree.insert(path(".writ/trust.yaml.sigs/dave.sig"), of(&text(1), "dave@example.com"));
        tree.insert(path("apps/web.yaml"), config_map("web", 1).into_bytes());
        let mut world = World::of(tree);
        world.root.root_keys = trust::RootKeys { threshold: 1, keys: vec![person("alice").public()] };
        world.now = now;
        let next = world.push(world.introduction, Some("alice"), |tree| {
            put_policy(tree, &text(2), &["alice"]);
            tree.insert(path(".writ/trust.yaml.sigs/dave.sig"), of(&text(2), principal));
        });
        let judgement = world.judge(&Start::Accepted(world.introduction), next);
        judgement.refusal().map(|finding| (finding.code.code, finding.found.clone()))
    };
    assert_eq!(judge("dave@example.com", BASE + 3599), None);
    for (principal, now, wanted) in [
        ("bob@example.com", BASE + 60, "dave.sig: signed by bob"),
        ("dave@example.com", BASE + 3600, "the commit was first seen"),
    ] {
        let (code, found) = judge(principal, now).unwrap();
        assert_eq!(code, "W504");
        assert!(found.contains(wanted), "{found}");
    }
}

/// Every finding as `code what`, for a file with these replacements.
fn mistakes(edits: &[(&str, &str)]) -> String {
    match TrustFile::parse(certified(1, edits).as_bytes()) {
        Ok(_) => "ok".to_owned(),
        Err(findings) => findings
            .iter()
            .map(|one| format!("{} {}\n", one.code.code, one.found))
            .collect::<String>()
            .trim()
            .to_owned(),
    }
}

#[test]
fn mistakes_about_authorities_are_named() {
    let ca = public("ca");
    let dave = public("dave");
    let shared = format!("W502 key {} of principal ssh-ca is there already, for dave", fingerprint("dave"));
    let cases = [
        ("maxValidity: 8h", "maxValidity: 1d", "ok"),
        ("maxValidity: 8h", "maxValidity: 0h", "W502 maxValidity is \"0h\""),
        ("maxValidity: 8h", "maxValidity: 8", "W502 maxValidity is a number"),
        ("maxValidity: 8h", "maxValidity: 08h", "W502 maxValidity is \"08h\""),
        ("maxValidity: 8h", "maxValidity: 367d", "W502 maxValidity is \"367d\""),
        (", maxValidity: 8h", "", "W502 principal ssh-ca has no maxValidity"),
        (", maxValidity: 8h", ", maxValidity: 8h, keys: []", "W502 principal ssh-ca is of kind ca and has keys"),
        (
            "kind: robot, ",
            "kind: robot, maxValidity: 8h, ",
            "W502 principal relbot has maxValidity and is not of kind ca",
        ),
        ("\"!root@*\"", "\"a,b\"", "W502 \"a,b\" is no pattern"),
        (&ca, &dave, shared.as_str()),
        (
            "root: [alice, dave]",
            "root: [alice, dave, ssh-ca]",
            "W502 role root names ssh-ca, an authority, which never signs itself",
        ),
        ("ca: ssh-ca, principal", "ca: nobody, principal", "W502 principal bob names the authority nobody"),
        ("ca: ssh-ca, principal", "ca: alice, principal", "W502 principal bob names the authority alice"),
        (
            "principal: \"bob@example.com\"",
            "principal: \"bob@other.org\"",
            "W502 principal bob is called bob@other.org, which ssh-ca may not certify",
        ),
        (
            "principal: \"bob@example.com\"",
            "principal: \"*@example.com\"",
            "W502 principal \"*@example.com\" is no name",
        ),
        (
            "principal: \"bob@example.com\"",
            "name: x",
            "W502 a certificate of principal bob has the unknown field \"name\"\nW502 a certificate of principal bob has no principal",
        ),
        ("revoked: []", "revoked: [{ca: ssh-ca, serial: 0}]", "W502 serial is none"),
        ("revoked: []", "revoked: [{ca: ssh-ca, serial: \"5-3\"}]", "W502 serial is none"),
        ("revoked: []", "revoked: [{ca: ssh-ca, serial: \"05\"}]", "W502 serial is none"),
        ("revoked: []", "revoked: [{ca: ssh-ca, serial: \"18446744073709551615\"}]", "ok"),
        ("revoked: []", "revoked: [{serial: 5, kind: hard}]", "W502 a revocation has no ca"),
        ("revoked: []", "revoked: [{ca: ssh-ca}]", "W502 a revocation of certificates needs one of serial and keyId"),
        (
            "revoked: []",
            "revoked: [{ca: ssh-ca, serial: 5, keyId: x}]",
            "W502 a revocation of certificates needs one of serial and keyId",
        ),
        ("revoked: []", "revoked: [{ca: ssh, serial: 5}]", "W502 certificate 5 of ssh is revoked and ssh is not there"),
        (
            "revoked: []",
            "revoked: [{ca: ssh-ca, serial: 5}, {ca: ssh-ca, serial: \"5-5\"}]",
            "W502 certificate 5 of ssh-ca is revoked twice",
        ),
        ("revoked: []", "revoked: [{ca: ssh-ca, keyId: x, kind: hard}]", "ok"),
    ];
    for (from, to, wanted) in cases {
        assert_eq!(mistakes(&[(from, to)]), wanted, "{to}");
    }
    let twice = format!("{{ssh: \"{}\"}}", person("carol").public());
    let named = "{sshCertificate: {ca: ssh-ca, principal: \"bob@example.com\"}}";
    assert_eq!(mistakes(&[(&twice, named)]), "W502 bob@example.com of ssh-ca is bob and also carol");
}

/// Who can be certified by nobody in force cannot sign, so a threshold may be out of reach.
#[test]
fn thresholds_count_who_can_be_certified() {
    let dave = format!("{{ssh: \"{}\"}}", person("dave").public());
    let named = "{sshCertificate: {ca: ssh-ca, principal: \"dave@example.com\"}}";
    assert_eq!(mistakes(&[(&dave, named)]), "ok");
    let revoked = format!("revoked: [{{key: \"{}\", kind: hard}}]", fingerprint("ca"));
    assert_eq!(
        mistakes(&[(&dave, named), ("revoked: []", &revoked)]).lines().next(),
        Some("W506 rule trust needs 2 of role root, in which 1 can sign")
    );
}

/// By what an authority called a certificate, also where it has another key by now.
#[test]
fn a_revocation_of_certificates_works_backwards() {
    let mut world = World::with(&certified(1, &[]));
    let commit = put(&mut world, |payload| sign(&fields(), "ca", NAMESPACE_GIT, payload));
    let (old, new) = (public("ca"), public("another ca"));
    let mut broken = |revoked: &str, edits: &[(&str, &str)]| {
        let revoked = format!("revoked: [{revoked}]");
        let text = certified(2, &[&[("revoked: []", revoked.as_str())], edits].concat());
        let step = world.push(commit, Some("alice"), |tree| put_policy(tree, &text, &["alice", "dave"]));
        let judgement = world.judge(&Start::Introduction, step);
        assert_eq!(memory::code(&judgement), "ok");
        judgement.broken().map_or_else(|| "holds".to_owned(), |finding| finding.found.to_string())
    };
    let names = [
        ("serial: 5", "certificate 5"),
        ("serial: 4-9", "certificates 4 to 9"),
        ("keyId: laptop", "certificate \"laptop\""),
    ];
    for (item, told) in names {
        for edits in [&[][..], &[(old.as_str(), new.as_str())]] {
            let found = broken(&format!("{{ca: ssh-ca, {item}}}"), edits);
            assert!(
                found.contains(&format!("{told} of ssh-ca is revoked")) && found.contains("apps/web.yaml"),
                "{found}"
            );
        }
    }
    for item in ["serial: 6", "serial: 6-9", "keyId: desktop"] {
        assert_eq!(broken(&format!("{{ca: ssh-ca, {item}}}"), &[]), "holds");
    }
}

/// Revocations of certificates are kept like all others.
#[test]
fn a_revocation_of_certificates_is_never_taken_back() {
    let file = |version: u64, revoked: &str| {
        TrustFile::parse(certified(version, &[("revoked: []", &format!("revoked: [{revoked}]"))]).as_bytes()).unwrap()
    };
    let before = file(1, "{ca: ssh-ca, serial: 5}");
    assert_eq!(file(2, "{ca: ssh-ca, serial: 5}, {ca: ssh-ca, keyId: x}").against_predecessor(&before), []);
    let findings = file(2, "{ca: ssh-ca, serial: 6}").against_predecessor(&before);
    assert_eq!(findings.iter().map(|one| one.code.code).collect::<Vec<_>>(), ["W505"]);
}

/// What is signed with a certificate on a side branch is in time as of the merge.
#[test]
fn a_certificate_that_ended_before_the_merge_gives_no_credit() {
    let history = ("history: {ancestry: firstParent}", "history: {ancestry: firstParent, mergeCredit: transitive}");
    for (merged, wanted) in [(BASE + 3_000, "ok"), (BASE + 86_000, "W302")] {
        let mut world = World::with(&certified(1, &[history]));
        let base = world.introduction;
        let side = put(&mut world, |payload| sign(&fields(), "ca", NAMESPACE_GIT, payload));
        let main = world.memory.store(&[base], world.memory.tree(&base), Some(&person("frank")), BASE + 120);
        let tree = world.memory.tree(&side);
        let merge = world.memory.store(&[main, side], tree, Some(&person("frank")), merged);
        assert_eq!(world.code(merge), wanted, "{merged}");
    }
}
