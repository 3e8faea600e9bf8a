//! Security keys in the trust file: what it asks of them, and what becomes of signatures that do not prove it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;
mod token;

use manifest::Finding;
use memory::{BASE, Tree, World, config_map, path, person, policy, put_policy};
use token::{TOUCHED, Token, Use, VERIFIED};
use trust::{
    AllowedSigners, CommitId, CommitObject, KnownSigners, NAMESPACE_GIT, NAMESPACE_TRUST, Start, TrustFile,
    verify_signature_only,
};

/// A world in which bob signs with a token, with these fields beside his key.
fn with_token(token: &Token, fields: &str) -> World {
    let bob = format!("ssh: \"{}\"", person("bob").public());
    World::with(&policy(1, &[(&bob, &format!("ssh: \"{}\"{fields}", token.public()))]))
}

/// A commit on top of the introduction that a token signed so.
fn put_signed(world: &mut World, token: &Token, flags: u8) -> CommitId {
    let mut tree = world.memory.tree(&world.introduction);
    tree.insert(path("apps/web.yaml"), config_map("web", 2).into_bytes());
    let how = Use { flags, ..Use::default() };
    let sign = |payload: &[u8]| String::from_utf8(token.sign(NAMESPACE_GIT, &how, payload)).unwrap();
    world.memory.store_signed(&[world.introduction], tree, Some(sign), BASE + 60)
}

/// What is said of a commit that bob signed so.
fn refusal(token: &Token, fields: &str, flags: u8) -> Option<Finding> {
    let mut world = with_token(token, fields);
    let commit = put_signed(&mut world, token, flags);
    world.judge(&Start::Introduction, commit).refusal().cloned()
}

#[test]
fn a_touch_is_needed_unless_the_file_says_otherwise() {
    for token in [Token::ed25519(), Token::ecdsa()] {
        for (fields, accepted) in [
            ("", [false, true, false, true]),
            (", userPresence: required", [false, true, false, true]),
            (", userPresence: notRequired", [true, true, true, true]),
            (", userVerification: required", [false, false, false, true]),
            (", userPresence: notRequired, userVerification: required", [false, false, true, true]),
        ] {
            for (flags, accepted) in [0, TOUCHED, VERIFIED, TOUCHED | VERIFIED].into_iter().zip(accepted) {
                let refused = refusal(&token, fields, flags).map(|finding| finding.code.code);
                assert_eq!(refused, (!accepted).then_some("W207"), "{fields:?} {flags}");
            }
        }
    }
}

#[test]
fn the_refusal_names_principal_key_and_what_to_do() {
    let token = Token::ed25519();
    let key = trust::PublicKey::parse(&token.public()).unwrap().fingerprint();
    let finding = refusal(&token, "", 0).unwrap();
    assert_eq!(finding.found, format!("signed with key {key} of bob without a touch of the security key"));
    assert!(finding.fix.contains("--gpg-sign # touch the key"), "{}", finding.fix);
    let finding = refusal(&token, ", userVerification: required", TOUCHED).unwrap();
    assert_eq!(finding.found, format!("signed with key {key} of bob without the PIN or fingerprint of its user"));
    assert!(finding.fix.contains("ssh-keygen -t ed25519-sk -O verify-required"), "{}", finding.fix);
}

#[test]
fn fields_about_the_user_are_for_security_keys() {
    let bob = format!("ssh: \"{}\"", person("bob").public());
    let sk = format!("ssh: \"{}\"", Token::ed25519().public());
    let check = |text: &str| match TrustFile::parse(policy(1, &[(&bob, text)]).as_bytes()) {
        Ok(_) => "ok".to_owned(),
        Err(findings) => findings.iter().map(|one| format!("{} {}\n", one.code.code, one.found)).collect(),
    };
    let beside = |fields: &str| check(&format!("{bob}, {fields}"));
    for field in ["userPresence: required", "userPresence: notRequired", "userVerification: required"] {
        let (name, _) = field.split_once(':').unwrap();
        let wanted = format!("W502 {name} is set for a key of type ssh-ed25519, which proves nothing about its user\n");
        assert_eq!(beside(field), wanted);
    }
    assert_eq!(check(&format!("{sk}, userPresence: maybe")), "W502 userPresence is unknown\n");
    assert_eq!(check(&format!("{sk}, userVerification: notRequired")), "W502 userVerification is unknown\n");
    assert_eq!(check(&format!("{sk}, userPresence: required, userVerification: required")), "ok");
    let allow = |names: &str| {
        let crypto = format!("revoked: []\ncrypto: {{allow: [{names}]}}\n");
        match TrustFile::parse(policy(1, &[(&bob, &sk), ("revoked: []\n", &crypto)]).as_bytes()) {
            Ok(_) => "ok".to_owned(),
            Err(findings) => findings.iter().map(|one| one.found.to_string()).collect(),
        }
    };
    assert_eq!(allow("ed25519, sk-ed25519"), "ok");
    assert_eq!(allow("ed25519, sk-ecdsa-p256"), "signed by a key of algorithm sk-ed25519");
}

#[test]
fn a_touch_is_needed_for_signatures_alone_too() {
    let token = Token::ecdsa();
    let mut world = World::new();
    let allowed = AllowedSigners::parse(&format!("bob {}\n", token.public())).unwrap();
    let known = KnownSigners { allowed_signers: Some(allowed), ..KnownSigners::default() };
    for (flags, wanted) in [(TOUCHED, Ok("bob".to_owned())), (0, Err("W207"))] {
        let commit = put_signed(&mut world, &token, flags);
        let object = CommitObject::parse(commit, world.memory.raw(&commit)).unwrap();
        let signer = verify_signature_only(&object, &known);
        assert_eq!(signer.map(|signer| signer.principal).map_err(|finding| finding.code.code), wanted);
    }
}

/// A signature beside the trust file proves the same as one of a commit.
#[test]
fn a_trust_file_needs_the_touch_too() {
    let token = Token::ecdsa();
    let dave = format!("ssh: \"{}\"", person("dave").public());
    let own = format!("ssh: \"{}\"", token.public());
    let text = |version| policy(version, &[(&dave, &own)]);
    let sign = |tree: &mut Tree, text: &str, flags: u8| {
        put_policy(tree, text, &["alice"]);
        let how = Use { flags, ..Use::default() };
        tree.insert(path(".writ/trust.yaml.sigs/dave.sig"), token.sign(NAMESPACE_TRUST, &how, text.as_bytes()));
    };
    let judge = |first: u8, second: u8| {
        let mut tree = Tree::new();
        sign(&mut tree, &text(1), first);
        tree.insert(path("apps/web.yaml"), config_map("web", 1).into_bytes());
        let mut world = World::of(tree);
        world.root.root_keys.keys = vec![person("alice").public(), token.public()];
        let next = world.push(world.introduction, Some("alice"), |tree| {
            sign(tree, &text(2), second);
        });
        world.judge(&Start::Introduction, next).refusal().map(|finding| (finding.code.code, finding.found.clone()))
    };
    assert_eq!(judge(TOUCHED, TOUCHED), None);
    for (first, second) in [(0, TOUCHED), (TOUCHED, 0)] {
        let (code, found) = judge(first, second).unwrap();
        assert_eq!(code, "W504");
        assert!(found.contains("dave.sig: signed with key SHA256:"), "{found}");
        assert!(found.contains("without a touch of the security key"), "{found}");
    }
}
