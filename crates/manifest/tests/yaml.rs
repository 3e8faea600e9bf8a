//! What the YAML reader accepts, where it says things stand, and what it refuses.

#![cfg(test)]

use manifest::{
    Document, FieldPath, MAX_DEPTH, MAX_DOCUMENTS, MAX_FILE_BYTES, MAX_NODES, MAX_SCALAR_BYTES, RepoPath,
    canonical_json, from_document, locate, parse_yaml, to_yaml,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn file() -> RepoPath {
    "apps/web.yaml".parse().unwrap()
}

/// `text` is refused with `expected`: code, line and column.
#[track_caller]
fn refused(text: &str, expected: &str) {
    let finding = parse_yaml(&file(), text.as_bytes()).map(|documents| format!("{documents:?}")).unwrap_err();
    let subject = finding.subject.to_string();
    assert_eq!(
        format!("{} {}", finding.code.code, subject.trim_start_matches("apps/web.yaml:")),
        expected,
        "{finding}"
    );
    assert!(!finding.needed.is_empty() && !finding.fix.is_empty(), "{finding}");
}

fn parse(text: &str) -> Vec<Document> {
    parse_yaml(&file(), text.as_bytes()).unwrap()
}

#[test]
fn every_refusal_names_its_place() {
    refused("a: 1\nb: [", "M101 3:1");
    refused("a: 1\n b: 2\n", "M101 2:3");
    refused("# é\na: 1_000\n", "M103 2:4");
    refused("é: {ü: 08}\n", "M103 1:8");
    refused("a: .inf\n", "M104 1:4");
    refused("a:\n  on: 1\n", "M105 2:3");
    refused("1: a\n", "M105 1:1");
    refused("? [a]\n: b\n", "M105 1:3");
    refused("a: 1\nb: 2\na: 3\n", "M106 3:1");
    refused("a: &x 1\n", "M107 1:4");
    refused("a: *x\n", "M107 1:4");
    refused("<<: {a: 1}\n", "M108 1:1");
    refused("a: !!str 1\n", "M109 1:4");
    refused("a: ! \"1\"\n", "M109 1:4");
    refused("a: !x {}\n", "M109 1:4");
    refused("a: 1\n--- b: 2\n", "M110 2:4");
    refused("a: 1\n---x\n", "M110 2:4");
    refused("a: 1\n...\nb: 2\n", "M110 3:1");
    refused("%YAML 1.1\n---\na: 1\n", "M110 2:1");
    refused("a: 1\n...\n--- #\nb: 2\n...\n%YAML 1.1\n", "M110 7:1");
    refused("a: 1\r---\rb: 2\r", "M101 1:5");
    refused("a: é\u{feff}\n", "M101 1:5");
    refused("\u{a0}{a: 1}\n", "M101 1:1");
    refused("a: 1\n---\nb: [!, c]\n", "M101 3:1");
    refused("{\"a\": \"x\u{2028} y\"}\n", "M111 1:1");
    refused("a: 1\n---\nb: 2\n---\nc: [1_0]\n", "M103 5:5");
}

#[test]
fn a_refusal_never_quotes_a_value() {
    for text in
        ["a: 47_11", "a: !!str 4711", "a: 0b-1", "a: \"4711\\q\"", "- 4711: x\n", "4711", "a: [4711", "a: *x4711"]
    {
        if let Err(finding) = parse_yaml(&file(), text.as_bytes()) {
            assert!(!format!("{finding:?}").contains("4711"), "{finding}");
        }
    }
}

#[test]
fn bytes_that_are_no_text() {
    let finding = parse_yaml(&file(), b"a: 1\nb: \xff\n").unwrap_err();
    assert_eq!((finding.code.code, finding.subject.to_string().as_str()), ("M101", "apps/web.yaml:2:1"));
    assert_eq!(parse_yaml(&file(), b"\xff\xfea\0").unwrap_err().code.code, "M101");
    assert_eq!(parse_yaml(&file(), b"a: \0\n").unwrap_err().code.code, "M101");
}

#[test]
fn limits_are_limits() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    // The root is at depth 0.
    assert!(parse_yaml(&file(), nested(MAX_DEPTH + 1).as_bytes()).is_ok());
    refused(&nested(MAX_DEPTH + 2), &format!("M102 1:{}", MAX_DEPTH + 2));
    refused(&"- ".repeat(200_000), &format!("M102 1:{}", 2 * (MAX_DEPTH + 1) + 1));
    refused(&"{a: ".repeat(200_000), &format!("M102 1:{}", 4 * MAX_DEPTH + 2));
    refused(&"[".repeat(500_000), &format!("M102 1:{}", MAX_DEPTH + 2));
    refused(&"? ".repeat(500_000), &format!("M102 1:{}", 2 * (MAX_DEPTH + 1) + 1));
    assert_eq!(parse(&"a: 1\n---\n".repeat(MAX_DOCUMENTS)).len(), MAX_DOCUMENTS);
    let many = "a: 1\n---\n".repeat(MAX_DOCUMENTS + 1);
    assert_eq!(parse_yaml(&file(), many.as_bytes()).unwrap_err().code.code, "M102");
    let long = format!("a: {}", "x".repeat(MAX_SCALAR_BYTES + 1));
    refused(&long, "M102 1:4");
    let wide = format!("[{}]", "1,".repeat(MAX_NODES));
    assert_eq!(parse_yaml(&file(), wide.as_bytes()).unwrap_err().code.code, "M102");
    let huge = vec![b' '; MAX_FILE_BYTES + 1];
    assert_eq!(parse_yaml(&file(), &huge).unwrap_err().code.code, "M102");
}

#[test]
fn documents_keep_their_number() {
    let documents = parse("# head\n---\na: 1\n---\n# nothing\n---\n---\n~\n--- # c\nb: 2\n");
    let seen: Vec<_> = documents.iter().map(|document| (document.index, document.root.position.line)).collect();
    assert_eq!(seen, [(1, 3), (4, 10)]);
    assert_eq!(parse("---\r\na: 1\r\n---\r\nb: 2\r\n").len(), 2);
    assert!(parse("").is_empty());
}

#[test]
fn locates_fields_and_items() {
    let text = "spec:\n  containers:\n  - name: web\n    image: a\n  - {name: log, ports: [{containerPort: 80}]}\n  \"a.b\": 1\n";
    let documents = parse(text);
    for (path, place) in [
        ("", Some((1, 1))),
        ("spec", Some((1, 1))),
        ("spec.containers[name=web].image", Some((4, 5))),
        ("spec.containers[1]", Some((5, 5))),
        ("spec.containers[name=log].ports[containerPort=80]", Some((5, 25))),
        ("spec[\"a.b\"]", Some((6, 3))),
        ("spec.containers[name=db]", None),
        ("spec.containers.name", None),
    ] {
        let found = locate(&documents[0], &path.parse::<FieldPath>().unwrap());
        assert_eq!(found.map(|position| (position.line, position.column)), place, "{path}");
    }
    let list = parse("kind: List\nitems:\n- kind: A\n- kind: B\n");
    assert_eq!(list[0].object_at(4).map(manifest::Node::to_json), Some(json!({"kind": "B"})));
    assert_eq!(list[0].object_at(1), None);
}

#[derive(serde::Deserialize, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
struct Small {
    name: String,
    inner: Vec<Inner>,
}

#[derive(serde::Deserialize, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
struct Inner {
    port: u16,
}

#[test]
fn our_own_files_are_read_strictly() {
    let read = |text: &str| {
        parse_yaml(&file(), text.as_bytes())
            .and_then(|documents| from_document::<Small>(&file(), &documents[0].root))
            .map_err(|finding| format!("{} {} {}", finding.code.code, finding.subject, finding.found))
    };
    assert_eq!(
        read("name: a\ninner: [{port: 0x50}]\n"),
        Ok(Small { name: "a".into(), inner: vec![Inner { port: 80 }] })
    );
    assert_eq!(
        read("name: a\ninner:\n- port: 1\n- port: x\n"),
        Err("M112 apps/web.yaml:4:3 inner[1].port: invalid type: string \"x\", expected u16".into())
    );
    assert!(
        read("name: a\ninner:\n- port: 1\n  prot: 2\n")
            .unwrap_err()
            .starts_with("M112 apps/web.yaml:4:3 inner[0].prot: unknown field")
    );
    assert!(
        read("name: yes\ninner: []\n").unwrap_err().starts_with("M112 apps/web.yaml:1:1 name: invalid type: boolean")
    );
    assert!(read("name: a\n").unwrap_err().contains("missing field `inner`"));
    assert!(read("name: a\nname: b\n").unwrap_err().starts_with("M106"));
}

#[test]
fn writes_text_that_no_reader_mistakes() {
    let value = json!({"b": ["on", "no", "0644", "1e3", "a b", "null", "2001-01-01", "12:30", "<<", "", "~", "x: y", "#c"],
        "a": {"plain": "registry/web-1.0", "lines": "one\ntwo\n", "kept": " x\n\n", "empty": {}, "none": [], "n": null, "y": 1}});
    let text = to_yaml(&value).unwrap();
    insta::assert_snapshot!(text);
    assert_eq!(parse(&text)[0].root.to_json(), value);
}

/// Any JSON value without numbers that are written as integers and are beyond `i64`, which M103 refuses.
fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "\\PC{0,12}",
        "[-+.0-9_eExobnyYN~<:#'\"\\[{ \n\t]{0,10}",
        "(on|off|yes|no|true|null|NaN|\\.inf|0644|1_0|---|\\.\\.\\.)\n?",
        any::<String>(),
    ];
    let is_refused = |number: f64| (9_223_372_036_854_775_808.0..1e21).contains(&number.abs());
    let number = any::<f64>()
        .prop_filter("finite, and no integer beyond i64", move |number| number.is_finite() && !is_refused(*number))
        .prop_map(Value::from);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        number,
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(text.clone(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(value in any_json()) {
        let text = to_yaml(&value).unwrap();
        let back = parse_yaml(&file(), text.as_bytes()).map_err(|finding| TestCaseError::fail(format!("{finding}\n{text}")))?;
        let back = back.first().map_or(Value::Null, |document| document.root.to_json());
        prop_assert_eq!(String::from_utf8(canonical_json(&back)), String::from_utf8(canonical_json(&value)), "{}", text);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _either = parse_yaml(&file(), &bytes);
    }

    #[test]
    fn no_yaml_like_text_makes_it_panic(text in "([-?:,\\[\\]{}#&*!|>'\"%@` \n\t]|---|\\.\\.\\.|[a-c01]|<<|é|\u{85}|\u{2028}|\u{feff}|\r){0,60}") {
        let _either = parse_yaml(&file(), text.as_bytes());
    }
}
