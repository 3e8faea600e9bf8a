//! Field-level comparison: what differs between two objects, addressed by merge key, masked.
//!
//! Additions by others are not differences here: only fields that `expected` has are looked at.

use std::collections::HashMap;

use manifest::{FieldPath, GroupKind, Segment, merge_key_default, merge_keys};
use serde_json::{Map, Value};

use crate::{
    field_class::{FieldClass, classify},
    server_form::ServerForm,
};

/// The most differences listed per object: what fits on three screens; the rest is counted.
pub const MAX_DIFFERENCES: usize = 100;
/// The longest value shown, in characters: a line or two of a terminal.
pub const MAX_SHOWN_CHARACTERS: usize = 200;

/// Whether values may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// Values are shown, cut at [`MAX_SHOWN_CHARACTERS`].
    Shown,
    /// Values of a Secret or sensitive kind: only that they differ.
    Masked,
}

/// One field that differs. Values are already cut and masked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldDiff {
    /// Where.
    pub path: String,
    /// What was expected or stood before; `None` if the field is new.
    pub before: Option<String>,
    /// What stands there now or comes; `None` if the field is gone.
    pub after: Option<String>,
    /// What the field is for.
    pub class: FieldClass,
}

/// Compares a declaration with what is live: every field of `declared` must be in `live` with the
/// same value, or with the form the API server gives to it. Fields that only `live` has are ignored.
#[must_use]
pub fn declared_differences(
    declared: &Value,
    live: &Value,
    kind: &GroupKind,
    visibility: Visibility,
) -> Vec<FieldDiff> {
    Walk::new(kind, visibility, Mode::Declared).between(declared, live)
}

/// Compares two declarations in both directions, as they are written.
#[must_use]
pub fn differences(before: &Value, after: &Value, kind: &GroupKind, visibility: Visibility) -> Vec<FieldDiff> {
    Walk::new(kind, visibility, Mode::Both).between(before, after)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Declared,
    Both,
}

/// One step of the way to a field; a [`Segment`] is made of it only when the field differs.
pub(crate) enum Step<'a> {
    Field(&'a str),
    Index(usize),
    Item(&'a Value, Keys),
}

pub(crate) type Keys = &'static [&'static str];

struct Walk<'a> {
    kind: &'a GroupKind,
    form: ServerForm<'a>,
    visibility: Visibility,
    mode: Mode,
    steps: Vec<Step<'a>>,
    /// The names of the fields among the steps.
    names: Vec<&'a str>,
    found: Vec<FieldDiff>,
}

impl<'a> Walk<'a> {
    fn new(kind: &'a GroupKind, visibility: Visibility, mode: Mode) -> Self {
        let form = ServerForm::of(kind);
        Self { kind, form, visibility, mode, steps: Vec::new(), names: Vec::new(), found: Vec::new() }
    }

    fn between(mut self, before: &'a Value, after: &'a Value) -> Vec<FieldDiff> {
        self.value(before, after);
        self.found
    }

    fn value(&mut self, before: &'a Value, after: &'a Value) {
        match (before, after) {
            (Value::Object(fields), Value::Object(after)) => self.object(before, fields, after),
            (Value::Array(before), Value::Array(after)) => self.array(before, after),
            (before, after) if before == after => {}
            (before, after) if self.mode == Mode::Declared && self.form.same(&self.names, before, after) => {}
            (before, after) => self.push(Some(before), Some(after)),
        }
    }

    fn object(&mut self, whole: &'a Value, before: &'a Map<String, Value>, after: &'a Map<String, Value>) {
        for (name, value) in before {
            self.enter(name);
            match after.get(name) {
                _ if self.mode == Mode::Declared && self.form.is_filled(whole, name, value) => {}
                Some(other) => self.value(value, other),
                None if self.mode == Mode::Declared && self.form.drops(&self.names, value) => {}
                None => self.push(Some(value), None),
            }
            self.leave();
        }
        if self.mode == Mode::Both {
            for (name, value) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
                self.enter(name);
                self.push(None, Some(value));
                self.leave();
            }
        }
    }

    fn array(&mut self, before: &'a [Value], after: &'a [Value]) {
        let set: Keys = &[];
        let keys = merge_keys(self.kind, &self.names).or_else(|| self.form.is_set(&self.names).then_some(set));
        let Some(keys) = keys else { return self.atomic(before, after) };
        let others = Items::of(after, keys);
        for item in before {
            self.steps.push(Step::Item(item, keys));
            match others.find(item) {
                Some(other) => self.value(item, other),
                None => self.push(Some(item), None),
            }
            self.steps.pop();
        }
        if self.mode == Mode::Both {
            let known = Items::of(before, keys);
            for item in after.iter().filter(|item| known.find(item).is_none()) {
                self.steps.push(Step::Item(item, keys));
                self.push(None, Some(item));
                self.steps.pop();
            }
        }
    }

    /// A list without merge keys belongs to one owner as a whole.
    fn atomic(&mut self, before: &'a [Value], after: &'a [Value]) {
        let declared = self.mode == Mode::Declared;
        let added = |item: &&Value| declared && self.form.is_admitted(&self.names, item) && !before.contains(item);
        let others: Vec<&Value> = after.iter().filter(|item| !added(item)).collect();
        if before.len() != others.len() {
            return self.push(Some(&Value::Array(before.to_vec())), Some(&Value::Array(after.to_vec())));
        }
        for (index, (item, other)) in before.iter().zip(others).enumerate() {
            self.steps.push(Step::Index(index));
            self.value(item, other);
            self.steps.pop();
        }
    }

    fn enter(&mut self, name: &'a str) {
        self.steps.push(Step::Field(name));
        self.names.push(name);
    }

    fn leave(&mut self) {
        self.steps.pop();
        self.names.pop();
    }

    fn push(&mut self, before: Option<&Value>, after: Option<&Value>) {
        match self.found.len() {
            count if count < MAX_DIFFERENCES => {
                let path = FieldPath::new(self.steps.iter().map(Step::segment).collect()).to_string();
                let class = classify(self.kind, &self.names);
                self.found.push(FieldDiff { path, before: self.show(before), after: self.show(after), class });
            }
            MAX_DIFFERENCES => self.found.push(FieldDiff {
                path: format!("(more than {MAX_DIFFERENCES} fields differ)"),
                before: None,
                after: None,
                class: FieldClass::Other,
            }),
            _ => {}
        }
    }

    fn show(&self, value: Option<&Value>) -> Option<String> {
        value.map(|value| match self.visibility {
            Visibility::Masked => "***".to_owned(),
            Visibility::Shown => shorten(&value.to_string()),
        })
    }
}

impl Step<'_> {
    pub(crate) fn segment(&self) -> Segment {
        match self {
            Self::Field(name) => Segment::Field((*name).to_owned()),
            Self::Index(index) => Segment::Index(*index),
            Self::Item(item, []) => Segment::Item([(String::new(), (*item).clone())].into()),
            Self::Item(item, keys) => {
                Segment::Item(keys.iter().filter_map(|key| Some(((*key).to_owned(), item.get(key)?.clone()))).collect())
            }
        }
    }
}

pub(crate) fn shorten(text: &str) -> String {
    if text.chars().nth(MAX_SHOWN_CHARACTERS).is_none() {
        return text.to_owned();
    }
    let head: String = text.chars().take(MAX_SHOWN_CHARACTERS).collect();
    format!("{head}… ({} bytes)", text.len())
}

/// From this many items on a list is indexed: below, looking at each is cheaper.
const INDEXED_FROM: usize = 16;

/// The items of a merged list, found by their merge keys. A set of plain values (no merge keys) is
/// addressed by value; a missing key has the server's default.
pub(crate) enum Items<'a> {
    Few(&'a [Value], Keys),
    Many(HashMap<String, &'a Value>, Keys),
}

impl<'a> Items<'a> {
    pub(crate) fn of(items: &'a [Value], keys: Keys) -> Self {
        if items.len() < INDEXED_FROM {
            return Self::Few(items, keys);
        }
        // The first of several counts, as it does below.
        Self::Many(items.iter().rev().map(|item| (identity(item, keys), item)).collect(), keys)
    }

    pub(crate) fn find(&self, item: &Value) -> Option<&'a Value> {
        match self {
            Self::Few(items, []) => items.iter().find(|other| *other == item),
            Self::Few(items, keys) => items.iter().find(|other| keys.iter().all(|key| same_key(item, other, key))),
            Self::Many(index, keys) => index.get(&identity(item, keys)).copied(),
        }
    }
}

/// What makes an item the same item, as text: values in JSON hold no line ends.
fn identity(item: &Value, keys: Keys) -> String {
    if keys.is_empty() {
        return item.to_string();
    }
    let part = |key: &&str| match (item.get(key), merge_key_default(key)) {
        (Some(value), _) => format!("{value}\n"),
        (None, Some(default)) => format!("{}\n", Value::from(default)),
        (None, None) => "\n".to_owned(),
    };
    keys.iter().map(part).collect()
}

fn same_key(item: &Value, other: &Value, key: &str) -> bool {
    match (item.get(key), other.get(key)) {
        (Some(one), Some(two)) => one == two,
        (None, None) => true,
        (Some(value), None) | (None, Some(value)) => merge_key_default(key).is_some_and(|default| value == default),
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
