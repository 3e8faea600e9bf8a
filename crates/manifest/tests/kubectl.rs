//! The same text read by the real kubectl: either both read the same, or we refuse it with the code listed.
//!
//! `kubectl create --dry-run=client` asks a server for the kinds it knows, even with `--validate=false`. `kubectl
//! annotate --local` reads files through the same builder and decoder and asks nobody, so it is used here.

#![cfg(test)]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the test, not the crate, runs kubectl")]
#![expect(clippy::unwrap_in_result, reason = "a test that cannot run kubectl stops there; the results are readings")]

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use manifest::{BuiltinScopes, ClusterId, RenderOptions, RepoPath, canonical_json, parse_yaml, render_plain};
use serde_json::Value;

/// The kubectl that belongs to the Kubernetes under test.
fn kubectl() -> PathBuf {
    let directory = std::env::var_os("WRIT_CONTROLPLANE").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/controlplane")),
        PathBuf::from,
    );
    let kubectl = directory.join("kubectl");
    assert!(
        kubectl.is_file(),
        "{} is missing: run `cargo xtask controlplane`, or set WRIT_CONTROLPLANE",
        kubectl.display()
    );
    kubectl
}

/// The objects that kubectl reads from `text`, without the annotation it was asked to add; `Err` with its words if it
/// refuses the text.
fn read_by_kubectl(text: &str) -> Result<Vec<Value>, String> {
    let mut child = Command::new(kubectl())
        .args(["annotate", "--local", "--filename=-", "--output=json", "read-by=kubectl"])
        .env_clear()
        .env("HOME", "/nonexistent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // All of stdin is read before anything is printed, and a table is far smaller than a pipe.
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let values = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    Ok(values
        .map(|value| {
            let mut value = value.unwrap();
            let metadata = value["metadata"].as_object_mut().unwrap();
            let annotations = metadata["annotations"].as_object_mut().unwrap();
            assert_eq!(annotations.remove("read-by"), Some(Value::from("kubectl")));
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
            value
        })
        .collect())
}

fn read_by_us(text: &str) -> Result<Vec<Value>, &'static str> {
    let file: RepoPath = "case.yaml".parse().unwrap();
    match parse_yaml(&file, text.as_bytes()) {
        Ok(documents) => Ok(documents.iter().map(|document| document.root.to_json()).collect()),
        Err(finding) => Err(finding.code.code),
    }
}

fn canonical(values: &[Value]) -> Vec<String> {
    values.iter().map(|value| String::from_utf8(canonical_json(value)).unwrap()).collect()
}

/// What we do with a text that kubectl may read.
enum Expected {
    /// We read what kubectl reads.
    Same,
    /// We refuse it with this code, whatever kubectl does.
    Refused(&'static str),
    /// kubectl refuses it as YAML (but reads it as JSON); there is only one way to read it, and we do.
    OnlyOurs,
}
use Expected::{OnlyOurs, Refused, Same};

/// Scalars and small values, each put behind `v: ` of an object of its own.
const SCALARS: &[(&str, Expected)] = &[
    // Booleans of YAML 1.1, and what only looks like one.
    ("yes", Same),
    ("Yes", Same),
    ("YES", Same),
    ("yES", Same),
    ("no", Same),
    ("No", Same),
    ("NO", Same),
    ("on", Same),
    ("On", Same),
    ("ON", Same),
    ("oN", Same),
    ("off", Same),
    ("Off", Same),
    ("OFF", Same),
    ("y", Same),
    ("Y", Same),
    ("n", Same),
    ("N", Same),
    ("true", Same),
    ("True", Same),
    ("TRUE", Same),
    ("tRue", Same),
    ("false", Same),
    ("False", Same),
    ("FALSE", Same),
    ("t", Same),
    ("'yes'", Same),
    ("\"no\"", Same),
    // Nothing.
    ("", Same),
    ("~", Same),
    ("null", Same),
    ("Null", Same),
    ("NULL", Same),
    ("nULL", Same),
    ("None", Same),
    ("nil", Same),
    ("''", Same),
    ("\"\"", Same),
    // Integers.
    ("0", Same),
    ("-0", Same),
    ("+1", Same),
    ("00", Same),
    ("0644", Same),
    ("-0644", Same),
    ("+0644", Same),
    ("0o644", Same),
    ("0O17", Same),
    ("0x1F", Same),
    ("0Xff", Same),
    ("-0x10", Same),
    ("0b101", Same),
    ("0B101", Same),
    ("-0b101", Same),
    ("+0b1", Same),
    ("9223372036854775807", Same),
    ("-9223372036854775808", Same),
    ("0x7fffffffffffffff", Same),
    ("0o", Same),
    ("0x", Same),
    ("0b", Same),
    ("0b2", Same),
    ("0o8", Same),
    ("0xfffffffffffffffffffffffffffffffff", Same),
    ("-", Refused("M101")),
    ("'-'", Same),
    ("+", Same),
    ("--1", Same),
    ("9223372036854775808", Refused("M103")),
    ("18446744073709551615", Refused("M103")),
    ("18446744073709551616", Refused("M103")),
    ("-9223372036854775809", Refused("M103")),
    ("0xffffffffffffffff", Refused("M103")),
    ("-0xffffffffffffffff", Refused("M103")),
    ("08", Refused("M103")),
    ("0999", Refused("M103")),
    ("01777777777777777777777", Refused("M103")),
    ("1_000", Refused("M103")),
    ("0x_1", Refused("M103")),
    ("1__0_", Refused("M103")),
    ("_1", Same),
    ("1_a", Same),
    ("0b-1", Refused("M103")),
    ("0b+1", Refused("M103")),
    ("-0b-1", Same),
    // Floats.
    ("1.0", Same),
    ("1.", Same),
    (".5", Same),
    ("+.5", Same),
    ("-.5", Same),
    ("1.50", Same),
    ("1e3", Same),
    ("1E3", Same),
    ("1e+3", Same),
    ("1e-3", Same),
    ("1.5e300", Same),
    ("0.1", Same),
    ("08.5", Same),
    ("-0.0", Same),
    ("1e20", Refused("M103")),
    ("1e21", Same),
    ("1e-6", Same),
    ("1e-7", Same),
    ("123456789.123456789", Same),
    ("4.9e-324", Same),
    ("1e-400", Same),
    ("1e400", Same),
    ("-1e400", Same),
    ("9223372036854775807.0", Refused("M103")),
    ("0x1p3", Same),
    ("1e", Same),
    ("1e5x", Same),
    (".", Same),
    ("..", Same),
    (".e3", Same),
    ("1.2.3", Same),
    ("0x1.8", Same),
    ("1_0.5", Refused("M103")),
    (".5_0", Refused("M103")),
    ("._5", Refused("M103")),
    (".inf", Refused("M104")),
    ("-.Inf", Refused("M104")),
    ("+.INF", Refused("M104")),
    (".nan", Refused("M104")),
    (".NaN", Refused("M104")),
    (".NAN", Refused("M104")),
    ("nan", Same),
    ("NaN", Same),
    ("inf", Same),
    ("Infinity", Same),
    (".iNf", Same),
    // Dates, times, addresses, versions, quantities: text.
    ("2001-12-14", Same),
    ("2001-12-14T21:59:43Z", Same),
    ("2001-12-14 21:59:43.10", Same),
    ("2001-1-1", Same),
    ("2024-13-45", Same),
    ("12:30", Same),
    ("190:20:30", Same),
    ("10.0.0.1", Same),
    ("10.0.0.0/8", Same),
    ("1.2", Same),
    ("v1", Same),
    ("500m", Same),
    ("1Gi", Same),
    ("1234e56", Same),
    ("12e03", Same),
    ("::1", Same),
    ("a:b", Same),
    ("http://x/y?z#w", Same),
    ("a #b", Same),
    ("a#b", Same),
    ("<<", Same),
    ("=", Same),
    ("- a", Refused("M101")),
    // Quoting and flow.
    ("'0644'", Same),
    ("\"0644\"", Same),
    ("'it''s'", Same),
    (r#""\x41\u00e9\U0001F600\t\_""#, Same),
    (r#""a\/b""#, OnlyOurs),
    ("\"a\\\n    b\"", Same),
    ("'a\n    b'", Same),
    ("a\n    b", Same),
    ("\"\\ud83d\\ude00\"", Refused("M101")),
    ("\"\\q\"", Refused("M101")),
    ("[yes, 0644, ~, 'x']", Same),
    ("{a: yes, b: [1, {c: 2}]}", Same),
    ("[a, ]", Same),
    ("[]", Same),
    ("{}", Same),
    ("{a, b: 1}", Same),
    ("{a: , b: 1}", Same),
    ("{\"a\":1}", Same),
    ("[a: 1, b]", Same),
    ("{a:1}", Same),
    ("[a:b]", Same),
    ("[http://x]", Same),
    ("{x: http://y/z}", Same),
    ("[,]", Refused("M101")),
    ("[?x]", Same),
    ("{? a : b}", Same),
    ("{a: \"b\"c}", Refused("M101")),
    ("@a", Refused("M101")),
    ("`a", Refused("M101")),
    ("%a", Refused("M101")),
    ("\n    a: 1\n    b: 2", Same),
    ("\n  - 1\n  - 2", Same),
    ("\n- 1", Refused("M101")),
    ("\n\ta: 1", Refused("M101")),
    ("\ta", Same),
    ("a\t", Same),
    ("[1,\t2]", Same),
    ("a: b", Refused("M101")),
    ("{a: 1, a: 2}", Refused("M106")),
    // Blocks.
    ("|\n    a\n     b\n", Same),
    ("|-\n    a\n", Same),
    ("|+\n    a\n\n\n", Same),
    (">\n    a\n    b\n\n    c\n", Same),
    (">-\n    a\n      b\n    c\n", Same),
    ("|2\n      a\n", Same),
    ("|1-\n   a\n", Same),
    ("| # c\n    a\n", Same),
    ("|\n", Same),
    ("|\n    #a\n  # b\n", Same),
    ("|\n    0644\n", Same),
    (">\n    a\u{2028}    b\n", Same),
    (">\n    a\u{85}b\u{2028}c\n", Refused("M101")),
    ("|x\n    a\n", Refused("M101")),
    // Unusual characters.
    ("é\u{a0}ü", Same),
    ("\u{1F600}", Same),
    ("\"a\u{85}b\"", Same),
    ("'a\u{2028}b'", Same),
    ("\"\u{feff}\"", Refused("M101")),
    ("\"\\uFEFF\"", Same),
    ("a\rb", Refused("M101")),
    ("a\u{85}b", Refused("M101")),
    ("\u{7}", Refused("M101")),
    ("\"\u{7f}\"", Refused("M101")),
    ("\u{fffe}", Refused("M101")),
    // Keys.
    ("{0644: a}", Refused("M105")),
    ("{yes: a}", Refused("M105")),
    ("{y: a}", Refused("M105")),
    ("{~: a}", Refused("M105")),
    ("{: a}", Refused("M101")),
    ("{1.5: a}", Refused("M105")),
    ("{[a]: b}", Refused("M105")),
    ("{2001-01-01: a}", Same),
    ("{'yes': a, \"1\": b}", Same),
    ("{\"<<\": {a: 1}}", Same),
    ("{<<: {a: 1}}", Refused("M108")),
    ("{a: {b: 1}, <<: 1}", Refused("M108")),
    // Anchors, aliases, tags.
    ("&x 1", Refused("M107")),
    ("[&x a, *x]", Refused("M107")),
    ("*nope", Refused("M107")),
    ("&x {a: *x}", Refused("M107")),
    ("!!str 1", Refused("M109")),
    ("!!int \"1\"", Refused("M109")),
    ("! 12", Refused("M109")),
    ("! \"12\"", Refused("M109")),
    ("!!map {}", Refused("M109")),
    ("!local a", Refused("M109")),
    ("!!binary aGk=", Refused("M109")),
    ("!<tag:yaml.org,2002:str> 1", Refused("M109")),
];

/// An object with `value` behind `v: `.
fn object(index: usize, value: &str) -> String {
    format!("apiVersion: test/v1\nkind: Case\nmetadata: {{name: case-{index}}}\nspec:\n  v: {value}\n")
}

#[test]
fn scalars_are_read_as_kubectl_reads_them_or_refused() {
    let mut wrong = Vec::new();
    let mut accepted = Vec::new();
    for (index, (value, expected)) in SCALARS.iter().enumerate() {
        match (read_by_us(&object(index, value)), expected) {
            (Ok(ours), Same) => accepted.push((*value, object(index, value), canonical(&ours))),
            (Err(code), Refused(listed)) if code == *listed => {}
            (Ok(_), OnlyOurs) if read_by_kubectl(&object(index, value)).is_err() => {}
            (ours, OnlyOurs) => wrong.push(format!("{value:?}: {ours:?}, listed as read by us and refused by kubectl")),
            (Ok(ours), Refused(listed)) => wrong.push(format!("{value:?}: we read {ours:?}, listed as {listed}")),
            (Err(code), Refused(listed)) => wrong.push(format!("{value:?}: refused with {code}, listed as {listed}")),
            (Err(code), Same) => wrong.push(format!("{value:?}: refused with {code}, listed as read")),
        }
    }
    // One run of kubectl reads all of them; each is a document of its own.
    let all: Vec<_> = accepted.iter().map(|(_value, text, _ours)| text.as_str()).collect();
    let theirs = match read_by_kubectl(&all.join("---\n")) {
        Ok(theirs) => theirs,
        Err(words) => panic!("{wrong:#?}\nkubectl refuses one that we read: {words}\n{}", each_alone(&accepted)),
    };
    assert_eq!(theirs.len(), accepted.len());
    for ((value, _text, ours), theirs) in accepted.iter().zip(&theirs) {
        let theirs = canonical(std::slice::from_ref(theirs));
        if *ours != theirs {
            wrong.push(format!("{value:?}: we read {ours:?}, kubectl {theirs:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Which of the texts kubectl refuses, to name them when the run over all of them failed.
fn each_alone(accepted: &[(&str, String, Vec<String>)]) -> String {
    let refused = accepted.iter().filter(|(_value, text, _ours)| read_by_kubectl(text).is_err());
    refused.map(|(value, ..)| format!("{value:?}\n")).collect()
}

const A: &str = "apiVersion: test/v1\nkind: A\nmetadata: {name: a}\n";
const B: &str = "apiVersion: test/v1\nkind: B\nmetadata: {name: b}\n";
const JSON_A: &str = r#"{"apiVersion": "test/v1", "kind": "A", "metadata": {"name": "a"}, "n": 1.0, "s": "\u00e9\/"}"#;

#[test]
fn documents_are_split_as_kubectl_splits_them_or_refused() {
    let cases: &[(&str, String, Expected)] = &[
        ("one", A.into(), Same),
        ("two", format!("{A}---\n{B}"), Same),
        ("leading and trailing separators", format!("---\n{A}---\n---\n{B}---\n"), Same),
        ("comments, null and blanks between", format!("# c\n---\n{A}---\n# d\n---\n~\n---\n\n  \n---\n{B}"), Same),
        ("comment on the separator", format!("--- # first\n{A}---\t# second\n{B}"), Same),
        ("CRLF", format!("{A}---\n{B}").replace('\n', "\r\n"), Same),
        ("byte order mark", format!("\u{feff}{A}"), Same),
        ("byte order mark before a separator", format!("\u{feff}---\n{A}"), Same),
        ("end marker at the end", format!("{A}...\n---\n{B}...\n"), Same),
        ("separator inside a block", format!("{A}v: |\n  x\n  ---\n  y\n"), Same),
        ("no line end", format!("{A}v: 1"), Same),
        ("JSON", JSON_A.into(), Same),
        ("JSON over lines", JSON_A.replace(", ", ",\n\t"), Same),
        ("JSON, then YAML", format!("{JSON_A}\n---\n{B}"), Same),
        ("flow", "{apiVersion: test/v1, kind: A, metadata: {name: a}, v: 0644}".into(), Same),
        ("blanks before JSON", format!("\n\n  {JSON_A}\n"), Same),
        ("JSON with an emoji as surrogates", JSON_A.replace("\\u00e9", "\\ud83d\\ude00"), Refused("M101")),
        ("JSON with a line separator in text", JSON_A.replace("\\u00e9", "x\u{2028}y"), Same),
        ("JSON with a line separator and a blank in text", JSON_A.replace("\\u00e9", "x\u{2028} y"), Refused("M111")),
        ("JSON with a number of its own kind", JSON_A.replace("1.0", "1E400"), Refused("M111")),
        ("JSON after JSON", format!("{JSON_A}{JSON_A}"), Refused("M110")),
        ("text on a separator", format!("{A}--- x\n{B}"), Refused("M110")),
        ("object on a separator", format!("--- {JSON_A}\n"), Refused("M110")),
        ("comment without a blank before it", format!("---#c\n{A}"), Refused("M110")),
        ("unusual blank on a separator", format!("---\u{a0}\n{A}"), Refused("M110")),
        ("four dashes", format!("{A}----\n{B}"), Refused("M110")),
        ("text after an end marker", format!("{A}...\n{B}"), Refused("M110")),
        (
            "a second document hidden by bare carriage returns",
            format!("{A}---\n{B}").replace('\n', "\r"),
            Refused("M101"),
        ),
        ("directive", format!("%YAML 1.1\n---\n{A}"), Refused("M110")),
        ("indentation by tab", format!("{A}v:\n\tx: 1\n"), Refused("M101")),
        ("the same key twice", format!("{A}v: 1\nv: 2\n"), Refused("M106")),
        ("bytes of UTF-16", "\u{fffd}a".into(), Refused("M101")),
    ];
    let mut wrong = Vec::new();
    for (name, text, expected) in cases {
        match (read_by_us(text), expected) {
            (Ok(ours), Same) => match read_by_kubectl(text) {
                Ok(theirs) if canonical(&theirs) == canonical(&ours) => {}
                theirs => wrong.push(format!("{name}: we read {ours:?}, kubectl {theirs:?}")),
            },
            (Err(code), Refused(listed)) if code == *listed => {}
            (ours, Same | OnlyOurs) => wrong.push(format!("{name}: {ours:?}, listed as read")),
            (ours, Refused(listed)) => wrong.push(format!("{name}: {ours:?}, listed as {listed}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn lists_are_expanded_as_kubectl_expands_them() {
    let map = |name: &str| format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: shop}}}}");
    let list = |kind: &str, items: &[String]| {
        format!("{{apiVersion: v1, kind: {kind}, metadata: {{resourceVersion: ''}}, items: [{}]}}", items.join(", "))
    };
    // kubectl refuses a list in a list; there is only one way to read it, and we do.
    assert!(read_by_kubectl(&list("List", &[list("ConfigMapList", &[map("a")])])).is_err());
    for text in [
        list("List", &[map("a"), map("b")]),
        list("List", &[]),
        list("ConfigMapList", &[map("a")]),
        format!("{}\n---\n{}\n", list("List", &[map("a")]), map("b")),
    ] {
        let files: [(RepoPath, &[u8]); 1] = [("case.yaml".parse().unwrap(), text.as_bytes())];
        let options = RenderOptions {
            cluster: ClusterId::new("test"),
            default_namespace: "shop",
            target_namespace: None,
            scopes: &BuiltinScopes,
            sensitive_kinds: &[],
        };
        let ours = render_plain(files.iter().map(|(file, bytes)| (file, *bytes)), &options).unwrap();
        let ours: Vec<_> = ours.iter().map(|rendered| rendered.object.value.clone()).collect();
        assert_eq!(canonical(&read_by_kubectl(&text).unwrap()), canonical(&ours), "{text}");
    }
}
