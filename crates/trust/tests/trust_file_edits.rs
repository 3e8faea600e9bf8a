//! Edits of the trust file: what they mean, that nothing else changes, and what is refused.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;

use jiff::Timestamp;
use memory::{BASE, at, person};
use proptest::prelude::*;
use trust::{
    KeyFingerprint, NewKey, NewPrincipal, NewRevocation, PrincipalKind, PublicKey, Revoked, TrustEditError,
    TrustEditor, TrustFile,
};

fn key(name: &str) -> PublicKey {
    PublicKey::parse(&person(name).public()).unwrap()
}

fn fingerprint(name: &str) -> KeyFingerprint {
    KeyFingerprint::Ssh(key(name).fingerprint())
}

fn new(name: &str, roles: &[&str]) -> NewPrincipal {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    NewPrincipal { name: name.to_owned(), kind: None, roles, keys: vec![NewKey::ssh(key(name))] }
}

fn hard(what: Revoked) -> NewRevocation {
    NewRevocation { what, after: None, reason: Some("stolen".to_owned()) }
}

/// A file by hand, with comments.
fn by_hand() -> String {
    format!(
        "# Who may do what.\napiVersion: writ.dev/v1alpha1\nkind: TrustPolicy\nrepoId: 'urn:test'   # as in the cluster\n\
         ref: refs/heads/main\nversion: 7 # one more each time\nexpires: 2099-01-01\nprincipals:\n  \
         alice: {{kind: human, keys: [{{ssh: \"{}\"}}]}} # the boss\n  # on call\n  \
         bob: {{kind: human, keys: [{{ssh: \"{}\"}}, {{ssh: \"{}\"}}]}}\nroles: {{root: [alice], sre: [bob, alice]}}\nrules:\n  \
         - {{name: trust, paths: [\".writ/**\"], anyOf: [{{role: root, threshold: 1}}]}}\n  \
         - {{name: apps, paths: [\"apps/**\"], anyOf: [{{role: sre, threshold: 1}}]}} # all of it\n",
        person("alice").public(),
        person("bob").public(),
        person("bob-laptop").public(),
    )
}

/// The same in block style, as `writ trust init` writes it.
fn in_blocks() -> String {
    format!(
        "apiVersion: writ.dev/v1alpha1\nexpires: \"2099-01-01T00:00:00Z\"\nhistory:\n  ancestry: allSigned\nkind: TrustPolicy\n\
         principals:\n  alice:\n    keys:\n    - ssh: {}\n    kind: human\n  bob:\n    keys:\n    - ssh: {}\n    - ssh: {}\n    \
         kind: human\nref: refs/heads/main\nrepoId: urn:test\nroles:\n  root:\n  - alice\n  sre:\n  - bob\n  - alice\nrules:\n\
         - anyOf:\n  - role: root\n    threshold: 1\n  name: trust\n  paths:\n  - .writ/**\n- anyOf:\n  - role: sre\n    \
         threshold: 1\n  name: apps\n  paths:\n  - apps/**\nversion: 7\n",
        person("alice").public(),
        person("bob").public(),
        person("bob-laptop").public(),
    )
    .replace("repoId: urn:test", "repoId: \"urn:test\"")
    .replace(".writ/**", "\".writ/**\"")
    .replace("- apps/**", "- \"apps/**\"")
}

type Edit<'a> = dyn Fn(&mut TrustEditor) -> Result<(), TrustEditError> + 'a;

fn edited(text: &str, edit: &Edit<'_>) -> Result<String, TrustEditError> {
    let mut editor = TrustEditor::open(text)?;
    edit(&mut editor)?;
    let before = editor.file().version;
    editor.finish(Some(before), at(BASE)).map(|(text, _file)| text)
}

/// The lines that go (`-`) and come (`+`), with keys as `KEY-OF-name`.
fn difference(before: &str, after: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let gone = old.iter().filter(|line| !new.contains(line)).map(|line| format!("-{line}\n"));
    let come = new.iter().filter(|line| !old.contains(line)).map(|line| format!("+{line}\n"));
    let mut text: String = gone.chain(come).collect();
    for name in ["alice", "bob-laptop", "bob", "carol"] {
        text = text.replace(&person(name).public(), &format!("KEY-OF-{name}"));
        text = text.replace(&person(name).fingerprint().to_string(), &format!("PRINT-OF-{name}"));
    }
    text
}

#[track_caller]
fn check(text: &str, edit: &Edit<'_>, expected: &str) {
    let after = edited(text, edit).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(difference(text, &after), expected);
    assert_eq!(TrustFile::parse(after.as_bytes()).unwrap().version, 8);
}

#[test]
fn somebody_comes() {
    let edit: &Edit<'_> = &|editor| editor.add(&[new("carol", &["sre"])]);
    check(
        &by_hand(),
        edit,
        "-version: 7 # one more each time\n-roles: {root: [alice], sre: [bob, alice]}\n+version: 8 # one more each time\n\
         +  carol: {kind: human, keys: [{ssh: \"KEY-OF-carol\"}]}\n+roles: {root: [alice], sre: [bob, alice, carol]}\n",
    );
    check(&in_blocks(), edit, "-version: 7\n+  carol:\n+    - ssh: \"KEY-OF-carol\"\n+  - carol\n+version: 8\n");
}

#[test]
fn a_key_comes_and_goes() {
    let key_of = |name: &str| {
        let mut one = new(name, &[]);
        one.name = "alice".to_owned();
        one
    };
    let more = key_of("carol");
    check(
        &by_hand(),
        &move |editor| editor.add(std::slice::from_ref(&more)),
        "-version: 7 # one more each time\n-  alice: {kind: human, keys: [{ssh: \"KEY-OF-alice\"}]} # the boss\n\
         +version: 8 # one more each time\n\
         +  alice: {kind: human, keys: [{ssh: \"KEY-OF-alice\"}, {ssh: \"KEY-OF-carol\"}]} # the boss\n",
    );
    check(
        &in_blocks(),
        &|editor| editor.remove_key("bob", fingerprint("bob")),
        "-    - ssh: KEY-OF-bob\n-version: 7\n+version: 8\n",
    );
}

#[test]
fn somebody_goes() {
    let edit: &Edit<'_> = &|editor| editor.remove("bob");
    check(
        &by_hand(),
        edit,
        "-version: 7 # one more each time\n\
         -  bob: {kind: human, keys: [{ssh: \"KEY-OF-bob\"}, {ssh: \"KEY-OF-bob-laptop\"}]}\n\
         -roles: {root: [alice], sre: [bob, alice]}\n+version: 8 # one more each time\n+roles: {root: [alice], sre: [alice]}\n",
    );
    check(
        &in_blocks(),
        edit,
        "-  bob:\n-    - ssh: KEY-OF-bob\n-    - ssh: KEY-OF-bob-laptop\n-  - bob\n-version: 7\n+version: 8\n",
    );
}

#[test]
fn keys_are_revoked_and_more_so() {
    let what = Revoked::Key(person("bob").fingerprint());
    let soft = NewRevocation { after: Some("ab".repeat(20).parse().unwrap()), ..hard(what.clone()) };
    let after = edited(&by_hand(), &|editor| editor.revoke(std::slice::from_ref(&soft))).unwrap();
    let line = format!("  - {{key: \"PRINT-OF-bob\", kind: soft, after: {}, reason: stolen}}", "ab".repeat(20));
    assert_eq!(
        difference(&by_hand(), &after),
        format!("-version: 7 # one more each time\n+version: 8 # one more each time\n+revoked:\n+{line}\n")
    );
    // A soft one becomes hard, and no other way round.
    let more = edited(&after, &|editor| editor.revoke(&[hard(what.clone())])).unwrap();
    assert!(difference(&after, &more).contains("+  - {key: \"PRINT-OF-bob\", kind: hard, reason: stolen}\n"), "{more}");
    let again = edited(&more, &|editor| editor.revoke(std::slice::from_ref(&soft)));
    assert!(matches!(again, Err(TrustEditError::Revoked(_))), "{again:?}");
    let many = [
        hard(Revoked::Payload(manifest::Digest::of(b"x"))),
        hard(Revoked::Certificate("0A".repeat(20).parse().unwrap())),
    ];
    let both = edited(&in_blocks(), &|editor| editor.revoke(&many)).unwrap();
    assert_eq!(TrustFile::parse(both.as_bytes()).unwrap().revoked.len(), 2);
}

#[test]
fn what_the_cluster_would_refuse_is_refused() {
    let refused = |edit: &Edit<'_>| edited(&by_hand(), edit).unwrap_err();
    let code = |error: TrustEditError| match error {
        TrustEditError::Refused(findings) => findings[0].code.code,
        other => panic!("{other}"),
    };
    // Who is needed stays, by name, by key or by revocation.
    assert_eq!(code(refused(&|editor| editor.remove("alice"))), "W506");
    assert_eq!(code(refused(&|editor| editor.revoke(&[hard(Revoked::Key(person("alice").fingerprint()))]))), "W506");
    // A file that is wrong already is not made better by half.
    let wrong = by_hand().replace("kind: human", "kind: alien");
    assert_eq!(code(edited(&wrong, &|editor| editor.remove("bob")).unwrap_err()), "W502");
    let cases: [(&Edit<'_>, &str); 8] = [
        (&|editor| editor.remove("nobody"), "nobody is no principal"),
        (&|editor| editor.remove_key("nobody", fingerprint("bob")), "nobody is no principal"),
        (&|editor| editor.remove_key("alice", fingerprint("bob")), "alice has no key"),
        (&|editor| editor.remove_key("alice", fingerprint("alice")), "alice has no other key than"),
        (&|editor| editor.add(&[new("bob", &[])]), "is a key of bob already"),
        (&|editor| editor.add(&[new("carol", &["boss"])]), "boss is no role; roles are root, sre"),
        (
            &|editor| {
                let keys = vec![NewKey::ssh(key("carol"))];
                let kind = Some(PrincipalKind::Robot);
                editor.add(&[NewPrincipal { name: "bob".to_owned(), kind, roles: Vec::new(), keys }])
            },
            "bob is there already, as a principal of another kind",
        ),
        (&|editor| editor.add_authority("bob", &key("carol"), &["*".to_owned()], "24h"), "bob is there already"),
    ];
    for (edit, message) in cases {
        let error = refused(edit).to_string();
        assert!(error.contains(message), "{error}");
    }
    // A key that has ended counts for nobody.
    let ending = by_hand().replacen("\"}]} # the boss", "\", notAfter: 2026-06-01}]}", 1);
    let editor = TrustEditor::open(&ending).unwrap();
    assert!(editor.clone().finish(Some(7), at(BASE)).is_ok());
    let later: Timestamp = "2026-07-01T00:00:00Z".parse().unwrap();
    assert_eq!(code(editor.finish(Some(7), later).unwrap_err()), "W506");
}

/// An edit is judged by what comes of it: one that mends is written, by parts as well, and one that leaves all as bad is not.
#[test]
fn a_threshold_that_nobody_meets_is_mended_by_edits() {
    let wrong = by_hand().replace("role: sre, threshold: 1", "role: sre, threshold: 4");
    assert_eq!(TrustFile::parse(wrong.as_bytes()).unwrap_err()[0].code.code, "W506");
    let three = edited(&wrong, &|editor| editor.add(&[new("carol", &["sre"])])).unwrap();
    assert_eq!(TrustFile::parse(three.as_bytes()).unwrap_err()[0].code.code, "W506");
    let four = edited(&three, &|editor| editor.add(&[new("dave", &["sre"])])).unwrap();
    assert!(TrustFile::parse(four.as_bytes()).is_ok(), "{four}");
    let both = edited(&wrong, &|editor| editor.add(&[new("carol", &["sre"]), new("dave", &["sre"])])).unwrap();
    assert_eq!(both.replace("version: 8", "version: 9"), four);
    let as_bad_or_worse: [&Edit<'_>; 4] = [
        &|_nothing| Ok(()),
        &|editor| editor.add(&[new("carol", &["root"])]),
        &|editor| editor.remove("bob"),
        // One thing is better for it, another one new.
        &|editor| {
            editor.add(&[new("carol", &["sre"]), new("dave", &["sre"])])?;
            editor.revoke(&[hard(Revoked::Key(person("alice").fingerprint()))])
        },
    ];
    for (index, edit) in as_bad_or_worse.iter().enumerate() {
        let Err(TrustEditError::Refused(findings)) = edited(&wrong, edit) else { panic!("{index}") };
        assert!(findings.iter().all(|finding| finding.code.code == "W506"), "{index}: {findings:?}");
    }
}

#[test]
fn the_version_follows_that_in_force() {
    let finished = |before: Option<u64>| {
        let editor = TrustEditor::open(&by_hand()).unwrap();
        editor.finish(before, at(BASE)).unwrap().1.version
    };
    // A file that nobody has accepted yet, one whose version is raised already, and one that is far behind.
    assert_eq!((finished(None), finished(Some(6)), finished(Some(41))), (7, 7, 42));
}

proptest! {
    /// Whoever comes can go again, and leaves no trace; whatever is in between says exactly what was meant.
    #[test]
    fn coming_and_going_leaves_no_trace(
        blocks in any::<bool>(),
        names in prop::collection::btree_set("[a-z]{2,4}[.-][a-z0-9]{1,8}", 1..5),
        roles in prop::collection::vec(prop::sample::select(vec!["root", "sre"]), 0..2),
        until in prop::option::of(1_800_000_000_i64..1_900_000_000),
    ) {
        let before = if blocks { in_blocks() } else { by_hand() };
        let mut roles = roles;
        roles.dedup();
        let people: Vec<NewPrincipal> = names
            .iter()
            .map(|name| {
                let mut one = new(name, &roles);
                one.keys[0].not_after = until.map(at);
                one
            })
            .collect();
        let mut editor = TrustEditor::open(&before).unwrap();
        editor.add(&people).unwrap();
        let mut meant = TrustFile::parse(before.as_bytes()).unwrap();
        let found = editor.file().clone();
        for name in &names {
            prop_assert_eq!(found.principals[name].keys[0].not_after, until.map(at));
            prop_assert_eq!(found.holder_of(&fingerprint(name)), Some(name.as_str()));
            meant.principals.insert(name.clone(), found.principals[name].clone());
            for role in &roles {
                meant.roles.get_mut(*role).unwrap().insert(name.clone());
            }
        }
        prop_assert_eq!(&found.principals, &meant.principals);
        prop_assert_eq!(&found.roles, &meant.roles);
        prop_assert_eq!(found.rules.len(), meant.rules.len());
        for name in names.iter().rev() {
            editor.remove(name).unwrap();
        }
        prop_assert_eq!(editor.finish(None, at(BASE)).unwrap().0, before);
    }
}
