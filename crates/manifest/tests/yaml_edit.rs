//! Edits of YAML text: what they mean, and that nothing else changes.

#![cfg(test)]

use manifest::{FieldPath, NewValue, RepoPath, Segment, YamlEdit, YamlEditError, edit_yaml, parse_yaml};
use proptest::prelude::*;
use serde_json::Value;

fn file() -> RepoPath {
    "a.yaml".parse().unwrap()
}

fn path(text: &str) -> FieldPath {
    let segment = |word: &str| word.parse().map_or_else(|_| Segment::Field(word.to_owned()), Segment::Index);
    FieldPath::new(text.split('/').filter(|word| !word.is_empty()).map(segment).collect())
}

fn text(text: &str) -> NewValue {
    NewValue::text(text)
}

fn mapping(entries: &[(&str, NewValue)]) -> NewValue {
    NewValue::Mapping(entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

fn insert(into: &str, name: &str, value: NewValue) -> YamlEdit {
    YamlEdit::Insert { into: path(into), entries: vec![(name.to_owned(), value)] }
}

fn append(to: &str, item: NewValue) -> YamlEdit {
    YamlEdit::Append { to: path(to), items: vec![item] }
}

fn remove(at: &str) -> YamlEdit {
    YamlEdit::Remove { at: path(at) }
}

fn set(at: &str, value: NewValue) -> YamlEdit {
    YamlEdit::Set { at: path(at), value }
}

/// `before` becomes `after`, also with the line ends of Windows and without the last one.
#[track_caller]
fn check(before: &str, edit: &YamlEdit, after: &str) {
    let edited = |text: &str| edit_yaml(&file(), text, std::slice::from_ref(edit));
    assert_eq!(edited(before).as_deref(), Ok(after));
    let crlf = |text: &str| text.replace('\n', "\r\n");
    assert_eq!(edited(&crlf(before)), Ok(crlf(after)));
    let cut = |text: &str| text.strip_suffix('\n').unwrap_or(text).to_owned();
    assert_eq!(edited(&cut(before)), Ok(cut(after)));
}

#[test]
fn in_brackets() {
    check("a: [x, w] # why\n", &append("a", text("z")), "a: [x, w, z] # why\n");
    check("a: []\n", &append("a", text("needs: quotes")), "a: [\"needs: quotes\"]\n");
    check("a: { x: 1 }\n", &insert("a", "w", NewValue::Number(2)), "a: { x: 1, w: 2 }\n");
    check(
        "a: [\n  x,   # first\n  w    # second\n]\n",
        &append("a", text("z")),
        "a: [\n  x,   # first\n  w,    # second\n  z\n]\n",
    );
    check("a: [\n  x,\n  w,   # second\n]\n", &append("a", text("z")), "a: [\n  x,\n  w,   # second\n  z,\n]\n");
    check("a: [x, w, z]\n", &remove("a/0"), "a: [w, z]\n");
    check("a: [x, w, z] # z\n", &remove("a/2"), "a: [x, w] # z\n");
    check("a: {x: [1], w: 2}\n", &remove("a/x"), "a: {w: 2}\n");
    check("a: [x]\n", &remove("a/0"), "a: []\n");
    check("a: [\n  x,  # x\n  w   # w\n]\n", &remove("a/1"), "a: [\n  x  # x\n]\n");
    check("a: [\n  x,  # x\n  w   # w\n]\n", &remove("a/0"), "a: [\n  w   # w\n]\n");
}

#[test]
fn in_block_style() {
    check("a:\n  x: 1 # one\n# end\n", &insert("a", "w", text("b")), "a:\n  x: 1 # one\n  w: b\n# end\n");
    check("a:\n- x\n- w\nb: 1\n", &append("a", text("z")), "a:\n- x\n- w\n- z\nb: 1\n");
    check(
        "a:\n  - {x: 1}\nb: 1\n",
        &append("a", mapping(&[("x", text("2"))])),
        "a:\n  - {x: 1}\n  - {x: \"2\"}\nb: 1\n",
    );
    check(
        "a:\n    - x: 1\n      w: [1]\n",
        &append("a", mapping(&[("x", NewValue::Number(2)), ("w", NewValue::List(vec![NewValue::Number(3)]))])),
        "a:\n    - x: 1\n      w: [1]\n    - x: 2\n      w: [3]\n",
    );
    check("a:\n  x: 1\n  # about w\n  w: 2 # two\n  z: 3\n", &remove("a/w"), "a:\n  x: 1\n  # about w\n  z: 3\n");
    check("a:\n- x: 1\n  w: 2\n- z\n", &remove("a/0"), "a:\n- z\n");
    check("a:\n- x: 1\n  w: 2\n- z\n", &remove("a/0/x"), "a:\n- w: 2\n- z\n");
    check("a:\n- x\n- z\n", &remove("a/1"), "a:\n- x\n");
    // A new field is written as its neighbours are.
    let person = mapping(&[("kind", text("human")), ("keys", NewValue::List(vec![mapping(&[("ssh", text("a b"))])]))]);
    check(
        "p:\n  alice: {kind: human}\nr: {}\n",
        &insert("p", "bob", person.clone()),
        "p:\n  alice: {kind: human}\n  bob: {kind: human, keys: [{ssh: \"a b\"}]}\nr: {}\n",
    );
    check(
        "p:\n  alice:\n    keys:\n    - ssh: x\n    kind: human\nr: {}\n",
        &insert("p", "bob", person),
        "p:\n  alice:\n    keys:\n    - ssh: x\n    kind: human\n  bob:\n    kind: human\n    keys:\n    - ssh: \"a b\"\nr: {}\n",
    );
}

#[test]
fn scalars_keep_their_quotation_marks() {
    check("v: 7     # one more each time\n", &set("v", NewValue::Number(8)), "v: 8     # one more each time\n");
    check("a: 'x'\n", &set("a", text("it's")), "a: 'it''s'\n");
    check("a: \"x\"\n", &set("a", text("w")), "a: \"w\"\n");
    check("a: x\n", &set("a", text("yes")), "a: \"yes\"\n");
    check("a: 2027-01-01T00:00:00Z\n", &set("a", text("2028-01-01T00:00:00Z")), "a: 2028-01-01T00:00:00Z\n");
}

#[test]
fn what_cannot_be_edited_is_refused() {
    let refused = |before: &str, edit: YamlEdit| edit_yaml(&file(), before, &[edit]).unwrap_err();
    assert!(matches!(refused("a: [x\n", remove("a")), YamlEditError::Refused(_)));
    assert_eq!(refused("a: 1\n---\nb: 1\n", remove("a")), YamlEditError::NotOneDocument);
    for edit in [remove("c"), remove("a/7"), append("b", text("x")), insert("", "a", text("x")), set("a", text("x"))] {
        assert!(matches!(refused("a: [x]\nb: {}\n", edit.clone()), YamlEditError::NoSuchPlace(_)), "{edit:?}");
    }
    // The comma after the comment is nobody's.
    assert!(matches!(refused("a: [x # x\n  , y]\n", remove("a/0")), YamlEditError::Unsupported(_)));
    assert!(matches!(refused("a:\n  x: 1\n", remove("a/x")), YamlEditError::Unsupported(_)));
    assert!(matches!(refused("a: |\n  x\n", set("a", text("w"))), YamlEditError::Unsupported(_)));
}

/// A value and how it is written: in block style where that can be.
#[derive(Debug, Clone)]
enum Tree {
    Scalar(&'static str),
    List(bool, Vec<Tree>),
    Mapping(bool, Vec<Tree>),
}

fn trees() -> impl Strategy<Value = Tree> {
    let scalar = prop::sample::select(vec!["x", "7", "'it''s'", "\"a # b\"", "2027-01-01", "true", "\"[\""]);
    scalar.prop_map(Tree::Scalar).prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            (any::<bool>(), prop::collection::vec(inner.clone(), 1..4))
                .prop_map(|(block, items)| Tree::List(block, items)),
            (any::<bool>(), prop::collection::vec(inner, 1..4)).prop_map(|(block, items)| Tree::Mapping(block, items)),
        ]
    })
}

/// The tree after `name:` or `-`, with a comment on every line and on lines of their own.
fn written(tree: &Tree, column: usize, count: &mut usize) -> String {
    *count += 1;
    let here = *count;
    let pad = " ".repeat(column);
    match tree {
        Tree::List(true, items) => {
            let line = |item| format!("{pad}# of {here}\n{pad}-{}", written(item, column + 2, count));
            format!(" # {here}\n{}", items.iter().map(line).collect::<String>())
        }
        Tree::Mapping(true, items) => {
            let line = |(index, item)| format!("{pad}k{index}:{}", written(item, column + 2, count));
            format!(" # {here}\n{}", items.iter().enumerate().map(line).collect::<String>())
        }
        _ => format!(" {} # {here}\n", flow(tree)),
    }
}

fn flow(tree: &Tree) -> String {
    match tree {
        Tree::Scalar(text) => (*text).to_owned(),
        Tree::List(_, items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Tree::Mapping(_, items) => {
            let entries = items.iter().enumerate().map(|(index, item)| format!("k{index}: {}", flow(item)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Every place in a value.
fn places(value: &Value, at: &FieldPath, found: &mut Vec<(FieldPath, Value)>) {
    found.push((at.clone(), value.clone()));
    match value {
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| places(item, &at.index(index), found)),
        Value::Object(fields) => fields.iter().for_each(|(name, item)| places(item, &at.field(name), found)),
        _ => {}
    }
}

fn value(text: &str) -> Value {
    parse_yaml(&file(), text.as_bytes()).unwrap()[0].root.to_json()
}

fn comments(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.rsplit_once(" # ").map(|(_, comment)| comment)).collect()
}

/// An edit of this place, and the one that takes it back.
fn there_and_back(at: &FieldPath, found: &Value, new: &NewValue) -> (YamlEdit, YamlEdit) {
    match found {
        Value::Object(_) => (
            YamlEdit::Insert { into: at.clone(), entries: vec![("new".to_owned(), new.clone())] },
            YamlEdit::Remove { at: at.field("new") },
        ),
        Value::Array(items) => (
            YamlEdit::Append { to: at.clone(), items: vec![new.clone()] },
            YamlEdit::Remove { at: at.index(items.len()) },
        ),
        old => {
            let old = old.as_str().map_or_else(|| NewValue::Number(old.as_u64().unwrap_or(1)), NewValue::text);
            (YamlEdit::Set { at: at.clone(), value: text("other") }, YamlEdit::Set { at: at.clone(), value: old })
        }
    }
}

proptest! {
    /// Any edit of any file means what it says, keeps every comment, and undone gives the same bytes.
    #[test]
    fn edits_change_nothing_else(
        trees in prop::collection::vec(trees(), 1..4),
        which in any::<prop::sample::Index>(),
        new in prop_oneof![
            Just(text("a b")),
            Just(NewValue::List(vec![text("x"), NewValue::Number(1)])),
            Just(mapping(&[("a", text("x")), ("b", NewValue::List(vec![mapping(&[("c", text("null"))])]))])),
        ],
    ) {
        let before = written(&Tree::Mapping(true, trees), 0, &mut 0).trim_start().to_owned();
        let model = value(&before);
        let mut all = Vec::new();
        places(&model, &FieldPath::default(), &mut all);
        let (at, found) = which.get(&all);
        let (edit, back) = there_and_back(at, found, &new);
        let after = edit_yaml(&file(), &before, std::slice::from_ref(&edit));
        let after = after.unwrap_or_else(|error| panic!("{error} {edit:?}\n{before}"));
        let mut meant = model.clone();
        edit.mean(&mut meant).unwrap();
        prop_assert_eq!(value(&after), meant);
        prop_assert_eq!(comments(&after), comments(&before));
        let undone = edit_yaml(&file(), &after, &[back]).unwrap_or_else(|error| panic!("{error} {edit:?}\n{before}\n{after}"));
        if found.is_string() || found.is_array() || found.is_object() {
            // A word that had needed no quotation marks has them now, if it needs them.
            let plain = |text: &str| text.replace(['"', '\''], "");
            prop_assert_eq!(plain(&undone), plain(&before));
        }
        if found.is_array() || found.is_object() {
            prop_assert_eq!(undone, before);
        }
    }

    /// Taking out keeps the rest; a text that is odd is edited rightly or refused.
    #[test]
    fn removals_and_odd_texts(trees in prop::collection::vec(trees(), 2..4), which in any::<prop::sample::Index>(), noise in "[ \\[\\]{},:#\n\r'\"a-c-]{0,30}") {
        let before = written(&Tree::Mapping(true, trees), 0, &mut 0).trim_start().to_owned();
        let model = value(&before);
        let mut all = Vec::new();
        places(&model, &FieldPath::default(), &mut all);
        let (at, _found) = which.get(&all);
        let edit = YamlEdit::Remove { at: at.clone() };
        if let Ok(after) = edit_yaml(&file(), &before, std::slice::from_ref(&edit)) {
            let mut meant = model.clone();
            edit.mean(&mut meant).unwrap();
            prop_assert_eq!(value(&after), meant);
        }
        let odd = format!("k0: [a]\nk1: {noise}\nk2: {{a: b}}\n");
        for edit in [append("k0", text("z")), insert("k2", "z", text("z")), remove("k1"), insert("", "z", text("z"))] {
            drop(edit_yaml(&file(), &odd, &[edit]));
        }
    }
}
