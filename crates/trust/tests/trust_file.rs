//! The trust file: every mistake by code, line and column.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use manifest::Subject;
use memory::{World, person, policy};
use proptest::prelude::*;
use trust::{Ancestry, TrustFile, TrustRootSpec};

/// Every finding as `line:column code what`, for the trust file with these replacements.
fn check(edits: &[(&str, &str)]) -> String {
    refusals(policy(1, edits).as_bytes())
}

fn refusals(bytes: &[u8]) -> String {
    let Err(findings) = TrustFile::parse(bytes) else { return "ok".to_owned() };
    let lines: Vec<String> = findings
        .iter()
        .map(|finding| {
            let Subject::Path { path, line: Some(line), column: Some(column) } = &finding.subject else {
                panic!("no place: {finding:?}");
            };
            assert_eq!(path.as_str(), ".writ/trust.yaml");
            format!("{line}:{column} {} {}", finding.code.code, finding.found)
        })
        .collect();
    lines.join("\n")
}

#[test]
fn a_good_file_is_read() {
    let file = TrustFile::parse(policy(7, &[("ancestry: firstParent", "ancestry: allSigned")]).as_bytes()).unwrap();
    assert_eq!((file.version, file.history.ancestry, file.rules.len()), (7, Ancestry::AllSigned, 3));
    assert_eq!(file.holder(&person("bob").fingerprint()).unwrap().0, "bob");
    assert_eq!(file.holder(&person("mallory").fingerprint()), None);
    let dual = |history| {
        TrustFile::parse(policy(7, &[("ancestry: firstParent", history)]).as_bytes()).unwrap().history.dual_signed
    };
    assert_eq!(["ancestry: firstParent", "dualSigned: false", "dualSigned: true"].map(dual), [false, false, true]);
    let short = policy(1, &[("history: {ancestry: firstParent}\nrevoked: []\n", "")]);
    assert_eq!(TrustFile::parse(short.as_bytes()).unwrap().history.ancestry, Ancestry::AllSigned);
}

#[test]
fn windows_and_users_are_read() {
    let bob = format!("ssh: \"{}\"", person("bob").public());
    let window = format!("{bob}, notBefore: 2026-02-01, notAfter: 2026-03-01");
    let users = ("kind: human, keys: [{ssh: \"", "kind: human, kubernetesUsers: [\"oidc:x\"], keys: [{ssh: \"");
    let text = policy(1, &[(&bob, &window)]).replacen(users.0, users.1, 1);
    let file = TrustFile::parse(text.as_bytes()).unwrap();
    let held = file.holder(&person("bob").fingerprint()).unwrap().1;
    let shown = |at: Option<jiff::Timestamp>| at.unwrap().to_string();
    assert_eq!(
        (shown(held.not_before), shown(held.not_after)),
        ("2026-02-01T00:00:00Z".into(), "2026-03-01T00:00:00Z".into())
    );
    let users: Vec<_> = file.principals.values().flat_map(|principal| &principal.kubernetes_users).collect();
    assert_eq!(users, ["oidc:x"]);
    let backwards = format!("{bob}, notBefore: 2026-03-01, notAfter: 2026-02-01");
    assert_eq!(check(&[(&bob, &backwards)]), "9:29 W502 a key of principal bob ends before it begins");
}

#[test]
fn what_is_not_supported_yet_is_named_with_its_place() {
    let table = [(
        "revoked: []",
        "crypto: {allow: [mldsa44-ed25519]}",
        "21:18 W502 mldsa44-ed25519 in crypto.allow is not supported yet",
    )];
    for (from, to, wanted) in table {
        assert_eq!(check(&[(from, to)]), wanted, "{to}");
    }
}

#[test]
fn every_mistake_has_its_place() {
    let alice = person("alice").public();
    let bob = person("bob").public();
    let shared = format!("key {} of principal bob is there already, for alice", person("alice").fingerprint());
    let table = [
        ("kind: TrustPolicy", "kind: Policy", "2:7 W502 kind is not TrustPolicy"),
        ("repoId: urn:writ:test\n", "", "1:1 W502 the trust file has no repoId"),
        (
            "ref: refs/heads/main",
            "ref: main",
            "4:6 W502 ref: only branches and tags by their full name are supported (refs/heads/… or refs/tags/…)",
        ),
        (
            "ref: refs/heads/main",
            "ref: refs/heads/a b",
            "4:6 W502 ref: it is not a valid ref name (git check-ref-format)",
        ),
        ("version: 1\n", "version: 0\n", "5:10 W502 version is 0"),
        ("version: 1\n", "version: \"1\"\n", "5:10 W502 version is text"),
        ("expires: 2027-06-01T00:00:00Z", "expires: soon", "6:10 W502 expires is \"soon\""),
        ("history:", "histroy:", "20:1 W502 the trust file has the unknown field \"histroy\""),
        ("{ancestry: firstParent}", "{ancestry: some}", "20:21 W502 history.ancestry is unknown"),
        ("{ancestry: firstParent}", "{refBinding: none}", "20:23 W502 history.refBinding is unknown"),
        ("{ancestry: firstParent}", "{mergeCredit: all}", "20:24 W502 history.mergeCredit is unknown"),
        ("{ancestry: firstParent}", "{partialAdvance: 1}", "20:27 W502 history.partialAdvance is a number"),
        ("{ancestry: firstParent}", "{dualSigned: both}", "20:23 W502 history.dualSigned is text"),
        ("{ancestry: firstParent}", "{dualsigned: true}", "20:11 W502 history has the unknown field \"dualsigned\""),
        ("kind: robot", "kind: alien", "14:18 W502 kind of principal relbot is unknown"),
        (&bob, &alice, &format!("9:29 W502 {shared}")),
        (&bob, "ssh-dss AAAA", ""),
        ("bots: [relbot]", "bots: [nobot]", "15:82 W502 role bots names nobot, who is no principal"),
        ("bots: [relbot]", "bots: []", "15:81 W502 role bots has 0 items"),
        ("role: bots", "role: bot", "19:73 W502 rule apps names the role bot, which is not there"),
        ("name: apps", "name: trust", "19:5 W502 a second rule \"trust\""),
        ("\"apps/**\"", "\"apps/{a,b}\"", "19:26 W502 '{' has no meaning in a pattern; only `*` and `**` do"),
        (
            "\"namespaced\"",
            "\"Deployment\"",
            "19:127 W502 \"Deployment\" is none of `group/Kind` (core: `/Kind`), `namespaced`, `cluster`, each with or without `!`",
        ),
        ("{name: apps, ", "{name: apps, override: later, ", "19:28 W502 override of rule apps names no rule before it"),
        (
            "{name: apps, ",
            "{name: apps, override: policies, ",
            "19:28 W502 rule apps overrides policies, which does not cover all of apps/**",
        ),
        (
            "{name: policies, paths: [\"policies/**\", \"waivers/**\"]",
            "{name: policies, override: trust, paths: [\".writ/keys/*\"]",
            "18:32 W502 rule policies overrides trust for .writ/keys/*, which reaches below .writ/",
        ),
        (
            "\"namespaced\"]",
            "\"namespaced\"], namespaces: [\"Shop\"]",
            "19:155 W502 \"Shop\" is not the name of a namespace, with `*` for any part of it and `!` before it for all others",
        ),
        (
            "{role: root, threshold: 2}",
            "{role: root, threshold: 2, distinctFromAuthor: some}",
            "17:95 W502 distinctFromAuthor is text",
        ),
        (
            "kind: robot",
            "kind: robot, kubernetesUsers: [a, a]",
            "14:46 W502 user \"a\" of principal relbot is there already",
        ),
        (
            "kind: robot",
            "kind: robot, kubernetesUsers: [\"a\\nb\"]",
            "14:43 W502 a user of principal relbot is no name",
        ),
        ("revoked: []", "revoked: [{key: x, kind: hard}]", ""),
        (
            "revoked: []",
            "revoked: [{key: \"SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU\", kind: soft, after: x}]",
            "21:90 W502 after is no commit",
        ),
        (
            "revoked: []",
            "revoked: [{key: \"SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU\", kind: soft}]",
            "21:11 W502 a soft revocation has no after",
        ),
        (
            "revoked: []",
            "revoked: [{key: \"SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU\", kind: hard, after: x}]",
            "21:90 W502 after is for soft revocations",
        ),
        ("revoked: []", "revoked: [{payload: \"00\"}]", "21:21 W502 payload is no digest"),
        ("revoked: []", "revoked: [{reason: x, kind: hard}]", "21:11 W502 a revocation needs one of key and payload"),
        ("revoked: []", "crypto: {minRsa: 1024}", "21:18 W502 minRsa is 1024"),
        ("revoked: []", "crypto: {hashes: [md5]}", ""),
        ("revoked: []", "crypto: {allow: [rsa]}", ""),
        (
            "revoked: []",
            "crypto: {allow: [ed25519, openpgp]}",
            "21:27 W502 \"openpgp\" is not one of ed25519, ecdsa-p256, ecdsa-p384, ecdsa-p521, rsa, sk-ed25519, sk-ecdsa-p256",
        ),
    ];
    for (from, to, wanted) in table {
        let found = check(&[(from, to)]);
        if wanted.is_empty() {
            assert!(found.contains(" W502 "), "{to}: {found}");
        } else {
            assert_eq!(found, wanted, "{to}");
        }
    }
}

#[test]
fn a_file_that_locks_itself_is_refused() {
    let revoke = |name: &str| format!("revoked: [{{key: \"{}\", kind: hard}}]", person(name).fingerprint());
    let table = [
        (
            "role: root, threshold: 2",
            "role: root, threshold: 3",
            "17:48 W506 rule trust needs 3 of role root, in which 2 can sign",
        ),
        ("revoked: []", &revoke("dave"), "17:48 W506 rule trust needs 2 of role root, in which 1 can sign"),
        (
            "root: [alice, dave]",
            "root: [alice, relbot]",
            "17:48 W506 rule trust needs 2 of role root, in which 1 can sign",
        ),
        (
            ".writ/**",
            ".writ/trust.yaml",
            "17:3 W506 no rule covers .writ/trust.yaml.sigs/alice.sig, so this file could never be changed",
        ),
        (".writ/**", ".writ/other", "17:3 W506 no rule covers .writ/trust.yaml, so this file could never be changed"),
    ];
    for (from, to, wanted) in table {
        let found = check(&[(from, to)]);
        assert_eq!(found.lines().next(), Some(wanted), "{to}: {found}");
    }
    // A forge presses buttons for others: it is nobody.
    let forge = [("kind: robot", "kind: forge"), ("anyOf: [{role: sre, threshold: 1}, ", "anyOf: [")];
    assert_eq!(check(&forge), "19:46 W506 rule apps needs 1 of role bots, in which 0 can sign");
    // Two of three, besides whoever makes the commit: one of the others can make it.
    let distinct = ("{role: root, threshold: 2}", "{role: root, threshold: 2, distinctFromAuthor: true}");
    assert_eq!(check(&[distinct]), "ok");
    // A second rule that covers it and that only machines could satisfy.
    let found = check(&[("\"apps/**\"], anyOf: [{role: sre, threshold: 1}, ", "\"apps/**\", \"**\"], anyOf: [")]);
    assert!(found.contains("rule apps covers .writ/trust.yaml and no people in force can satisfy it"), "{found}");
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let found = check(&[
        ("version: 1\n", "version: -1\n"),
        ("expires: 2027-06-01T00:00:00Z", "expires: x"),
        ("role: bots", "rule: bots"),
    ]);
    assert_eq!(found.lines().count(), 4, "{found}");
}

#[test]
fn what_yaml_refuses_is_refused() {
    for text in ["", "a: [", "a: 1\na: 2\n", "&a {b: *a}\n", "--- {}\n--- {}\n", "[]", "\u{0}"] {
        let found = refusals(text.as_bytes());
        assert!(found.contains(" W502 "), "{text:?}: {found}");
    }
    let twice = policy(1, &[("version: 1\n", "version: 1\nversion: 2\n")]);
    assert!(refusals(twice.as_bytes()).starts_with("6:1 W502 "), "{}", refusals(twice.as_bytes()));
    assert!(refusals(&vec![b' '; 300 * 1024]).contains("W502"));
}

fn manifest_of(spec: &TrustRootSpec) -> serde_json::Value {
    serde_json::json!({"apiVersion": "writ.dev/v1alpha1", "kind": "TrustRoot", "metadata": {"name": "x"}, "spec": spec})
}

#[test]
fn a_trust_root_is_read_and_checked() {
    let spec = World::new().root;
    let read = |value: &serde_json::Value| {
        let documents = manifest::parse_yaml(&manifest::RepoPath::root(), value.to_string().as_bytes()).unwrap();
        TrustRootSpec::from_manifest(&manifest::RepoPath::root(), &documents[0].root)
    };
    let good = manifest_of(&spec);
    assert_eq!(read(&good), Ok(spec));
    let refuse = |pointer: &str, field: &str, value: serde_json::Value, wanted: &str| {
        let mut manifest = good.clone();
        manifest.pointer_mut(pointer).unwrap()[field] = value;
        let text = read(&manifest).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        assert!(text.contains(wanted), "{field}: {text}");
    };
    refuse("", "kind", "Sync".into(), "TrustRoot");
    refuse("/spec", "mode", "Watch".into(), "mode");
    refuse("/spec", "limits", serde_json::json!({"steps": 1}), "spec.limits.steps is not supported yet");
    for (limits, wanted) in [
        (serde_json::json!({"changedPaths": 0}), "spec.limits.changedPaths: 0 is not between 1 and 20000"),
        (serde_json::json!({"changedPaths": 20_001}), "spec.limits.changedPaths: 20001 is not between 1 and 20000"),
        (serde_json::json!({"repositoryBytes": 0}), "spec.limits.repositoryBytes: 0 is not between"),
        (
            serde_json::json!({"repositoryBytes": 536_870_913_u64}),
            "spec.limits.repositoryBytes: 536870913 is not between",
        ),
        (serde_json::json!({"objects": 1}), "M112 FieldRefused: "),
    ] {
        refuse("/spec", "limits", limits, wanted);
    }
    let mut limited = good.clone();
    limited["spec"]["limits"] = serde_json::json!({"changedPaths": 20_000, "repositoryBytes": 1});
    let limited = read(&limited).unwrap();
    assert_eq!((limited.changed_paths(), limited.repository_bytes()), (20_000, 1));
    refuse("/spec", "url", "x".into(), "M112 FieldRefused: ");
    refuse("/spec", "ref", "main".into(), "refs/heads/");
    refuse("/spec", "ref", "refs/tags/a b".into(), "git check-ref-format");
    refuse("/spec", "repoId", "".into(), "repoId");
    refuse("/spec/rootKeys", "threshold", 3.into(), "can never be reached");
    refuse("/spec/rootKeys", "threshold", 0.into(), "can never be reached");
    let key = person("alice").public();
    refuse("/spec/rootKeys", "keys", vec![key.clone(), key].into(), "is there twice");
    refuse("/spec/rootKeys", "keys", vec!["ssh-dss AAAA"].into(), "rootKeys.keys");
    // One whose signatures would never count.
    let field = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let short = [field(b"ssh-rsa"), field(&[1, 0, 1]), field(&[&[0][..], &[0xff; 256]].concat())].concat();
    let short = format!("ssh-rsa {}", STANDARD.encode(short));
    refuse("/spec/rootKeys", "keys", vec![person("alice").public(), short].into(), "an RSA key of 2048 bits");
    refuse("/spec/introduction", "commit", "abc".into(), "object id");
}

/// What stands in a trust file, right and wrong, to be put in the place of something else.
const WORDS: [&str; 40] = [
    "{}",
    "[]",
    "null",
    "~",
    "true",
    "0",
    "-1",
    "1e9",
    "99999999999999999999",
    "\"\"",
    "x",
    "*",
    "&a x",
    "*a",
    "!!str x",
    "|",
    "? x",
    "2027-06-01",
    "2027-13-01",
    "soon",
    "hard",
    "soft",
    "\"SHA256:x\"",
    "root",
    "sre",
    "alice",
    "{role: root, threshold: 2}",
    "[alice, alice]",
    "{ssh: x}",
    "{ssh: x, openpgp: {}}",
    "{keyless: {issuer: x}}",
    "{sshCertificate: {ca: x}}",
    "{kind: ca}",
    "refs/tags/v",
    "<<",
    "{a: 1, a: 2}",
    "\u{0}",
    "\u{feff}",
    "---",
    "é",
];

/// A file with something left out, doubled, put elsewhere or put in the place of a word.
fn mistaken(text: &str, how: u8, at: &prop::sample::Index, to: &prop::sample::Index) -> String {
    let mut lines: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
    match how {
        0 => drop(lines.remove(at.index(lines.len()))),
        1 => lines.insert(to.index(lines.len()), lines[at.index(lines.len())].clone()),
        2 => lines.swap(at.index(text.lines().count()), to.index(text.lines().count())),
        3 => lines[at.index(text.lines().count())].insert(0, ' '),
        _ => {
            let words: Vec<(usize, &str)> = text
                .match_indices(|one: char| !" {}[],:\"\n".contains(one))
                .filter(|(place, _)| {
                    *place == 0
                        || text.as_bytes()[place - 1].is_ascii_punctuation()
                        || text.as_bytes()[place - 1].is_ascii_whitespace()
                })
                .collect();
            let begin = words[at.index(words.len())].0;
            let end = text[begin..]
                .find([' ', '{', '}', '[', ']', ',', ':', '"', '\n'])
                .map_or(text.len(), |end| begin + end);
            return format!("{}{}{}", &text[..begin], WORDS[to.index(WORDS.len())], &text[end..]);
        }
    }
    lines.concat()
}

/// A number has one spelling.
#[test]
fn numbers_are_written_as_everybody_reads_them() {
    let parse = |from: &str, to: &str| TrustFile::parse(policy(1, &[(from, to)]).as_bytes());
    for version in ["version: 1 # first", "version:   1", "\"version\": 1", "version: 1\r"] {
        assert_eq!(parse("version: 1", version).map(|file| file.version), Ok(1), "{version}");
    }
    for version in ["1.0", "0o1", "0x1", "+1", "1e0", "01"] {
        let mistakes = parse("version: 1", &format!("version: {version}")).unwrap_err();
        assert_eq!(mistakes[0].code.code, "W502", "{version}");
        let mistakes = parse("threshold: 2}", &format!("threshold: {}}}", version.replace('1', "2"))).unwrap_err();
        assert_eq!((mistakes[0].code.code, mistakes[0].needed.as_str()), ("W502", "2"), "{version}");
    }
}

/// An override replaces kinds and namespaces as well: what it leaves open of them is told.
#[test]
fn an_override_that_drops_limits_is_told() {
    let open = |limits: &str| {
        let rule = format!(
            "namespaces: [shop]}}\n  - {{name: images, paths: [\"apps/*/image.yaml\"], override: apps, anyOf: [{{role: bots, \
             threshold: 1}}]{limits}}}\nhistory"
        );
        let edits = [("\"namespaced\"]}\nhistory", &*format!("\"namespaced\"], {rule}"))];
        let file = TrustFile::parse(policy(1, &edits).as_bytes()).unwrap();
        file.rules.iter().map(|rule| file.left_open(rule)).collect::<Vec<_>>().concat()
    };
    assert_eq!(open(""), ["kinds", "namespaces"]);
    assert_eq!(open(", namespaces: [shop]"), ["kinds"]);
    assert_eq!(open(", kinds: [\"!/Secret\"]"), ["namespaces"]);
    assert!(open(", kinds: [\"apps/*\"], namespaces: [\"*\"]").is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is wrong with a file is said with a code of trust files, a line and a column that are in it.
    #[test]
    fn every_mistake_is_said_with_its_place(how in 0_u8..9, at: prop::sample::Index, to: prop::sample::Index) {
        let whole = policy(1, &[(
            "revoked: []",
            "crypto: {minRsa: 3072, hashes: [sha256, sha512], allow: [ed25519, rsa]}\nrevoked:\n  - {key: \"SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU\", kind: hard}",
        )]);
        let text = mistaken(&whole, how, &at, &to);
        let Err(findings) = TrustFile::parse(text.as_bytes()) else { return Ok(()) };
        prop_assert!(!findings.is_empty());
        let lines = text.lines().count();
        for finding in findings {
            let Subject::Path { line: Some(line), column: Some(column), .. } = &finding.subject else {
                panic!("no place: {finding:?}\n{text}");
            };
            let (line, column) = (usize::try_from(*line).unwrap(), usize::try_from(*column).unwrap());
            prop_assert!(finding.code.code.starts_with("W5"), "{finding}");
            prop_assert!((1..=lines + 1).contains(&line), "{finding}\n{text}");
            let width = text.lines().nth(line - 1).map_or(0, |line| line.chars().count());
            prop_assert!((1..=width + 1).contains(&column), "{finding}\n{text}");
            prop_assert!(!finding.needed.is_empty() && !finding.fix.is_empty(), "{finding:?}");
        }
    }
}
