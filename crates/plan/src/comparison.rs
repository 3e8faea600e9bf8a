//! The whole comparison of an object with its declaration: what was edited, added, removed, and what of it is explained.
//!
//! Fields that are declared are compared by value, in the form the API server gives to them. Fields that only the live object
//! has are its defaults, or additions. Of an addition the smallest thing is named that is there as a whole: an item of a list,
//! an entry of a map, the innermost fields of a structure.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use manifest::{FieldPath, GroupKind, MASK, in_pod_spec, merge_keys};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    Visibility,
    catalogue::{DeclaredSet, Site, explanation},
    compare::{Items, Keys, Step, shorten},
    defaults::{Beside, is_default},
    field_class::{FieldClass, classify},
    server_form::ServerForm,
    surplus::is_bookkeeping,
};

/// The most changes listed of one object: what a page of a pager shows ten times over; the rest is counted.
pub const MAX_CHANGES: usize = 1_000;
/// The longest value given whole, in bytes of JSON: a container with twenty variables. Of longer ones the beginning is given,
/// as text.
pub const MAX_VALUE_BYTES: usize = 4_096;

/// How a field differs from its declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is declared and has another value.
    Edited,
    /// It is there, and not declared.
    Added,
    /// It is declared, and not there.
    Removed,
    /// The whole object is gone.
    Deleted,
}

/// One field that is not as declared. The values are already masked and cut.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldChange {
    /// Where, with list items by their merge keys.
    pub field: FieldPath,
    /// Where, as a JSON pointer (RFC 6901) into the live object, or into the declared one if the field was removed.
    pub pointer: String,
    /// What is declared.
    pub desired: Option<Value>,
    /// What is live.
    pub live: Option<Value>,
    /// What the field is for.
    pub class: FieldClass,
    /// How it differs.
    pub kind: ChangeKind,
    /// The [known mutator](crate::Mutator) that explains it: then it is no drift.
    pub explained_by: Option<&'static str>,
}

/// What differs between an object and its declaration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Comparison {
    /// The changes in the order of the declaration, additions behind what is declared in the same structure.
    pub changes: Vec<FieldChange>,
    /// How many more there are than [`MAX_CHANGES`].
    pub more: u64,
    /// Whether something that is not listed is not explained either.
    pub more_unexplained: bool,
}

impl Comparison {
    /// Whether something differs that nothing explains.
    #[must_use]
    pub fn is_drift(&self) -> bool {
        self.more_unexplained || self.changes.iter().any(|change| change.explained_by.is_none())
    }
}

/// What an object is compared under.
#[derive(Debug, Clone, Copy)]
pub struct Compared<'a> {
    /// Its kind.
    pub kind: &'a GroupKind,
    /// Whether values may be shown.
    pub visibility: Visibility,
    /// What is declared beside it.
    pub set: &'a dyn DeclaredSet,
}

/// Compares an object with its declaration; `live` is `None` if it is gone.
#[must_use]
pub fn compare(declared: &Value, live: Option<&Value>, under: &Compared<'_>) -> Comparison {
    let mut walk = Walk {
        under: *under,
        form: ServerForm::of(under.kind),
        declared,
        steps: Vec::new(),
        names: Vec::new(),
        pointer: Vec::new(),
        asking: false,
        found: Comparison::default(),
    };
    match live {
        Some(live) => walk.value(declared, live, Beside::default()),
        None => walk.push(ChangeKind::Deleted, Some(declared), None),
    }
    walk.found
}

/// One part of a JSON pointer.
#[derive(Debug, Clone, Copy)]
enum Part<'a> {
    Name(&'a str),
    Index(usize),
}

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "/{}", name.replace('~', "~0").replace('/', "~1")),
            Self::Index(index) => write!(f, "/{index}"),
        }
    }
}

struct Walk<'a> {
    under: Compared<'a>,
    form: ServerForm<'a>,
    declared: &'a Value,
    steps: Vec<Step<'a>>,
    /// The names of the fields among the steps.
    names: Vec<&'a str>,
    pointer: Vec<Part<'a>>,
    /// Whether it is only asked if there is a change at all.
    asking: bool,
    found: Comparison,
}

impl<'a> Walk<'a> {
    /// Compares what is declared; `beside`: the fields of the structure that it stands in.
    fn value(&mut self, declared: &'a Value, live: &'a Value, beside: Beside<'a>) {
        match (declared, live) {
            _ if self.is_answered() => {}
            (Value::Object(fields), Value::Object(live)) => self.structure(fields, live),
            (Value::Array(items), Value::Array(live)) => self.list(items, live),
            // What is declared as nothing is declared by nobody.
            (Value::Null, live) => self.undeclared(live, beside),
            (declared, live) if declared == live || self.form.same(&self.names, declared, live) => {}
            (declared, live) => self.push(ChangeKind::Edited, Some(declared), Some(live)),
        }
    }

    fn structure(&mut self, declared: &'a Map<String, Value>, live: &'a Map<String, Value>) {
        let beside = Beside { declared: Some(declared), live: Some(live), on_node: false };
        for (name, value) in declared {
            if self.is_answered() {
                return;
            }
            self.enter(name);
            match live.get(name) {
                Some(other) => self.value(value, other, beside),
                None if self.form.drops(&self.names, value) => {}
                None => self.push(ChangeKind::Removed, Some(value), None),
            }
            self.leave();
        }
        for (name, value) in live.iter().filter(|(name, _)| !declared.contains_key(*name)) {
            self.added_field(name, value, beside);
        }
    }

    /// Whether it was only asked if there is a change, and there is one.
    const fn is_answered(&self) -> bool {
        self.asking && self.found.more > 0
    }

    fn added_field(&mut self, name: &'a str, value: &'a Value, beside: Beside<'a>) {
        if is_bookkeeping(&self.names, name) || self.is_answered() {
            return;
        }
        self.enter(name);
        self.undeclared(value, beside);
        self.leave();
    }

    /// What nobody declares: of a structure its fields, of a merged list its items.
    fn undeclared(&mut self, live: &'a Value, beside: Beside<'a>) {
        let beside = Beside { on_node: self.is_on_node(), ..beside };
        if is_default(self.under.kind, &self.names, live, beside) {
            return;
        }
        match live {
            Value::Object(fields) if !fields.is_empty() => {
                for (name, value) in fields {
                    self.added_field(name, value, Beside { live: Some(fields), ..Beside::default() });
                }
            }
            Value::Array(items) if !items.is_empty() => match self.keys() {
                Some(keys) => {
                    for (index, item) in items.iter().enumerate() {
                        self.item(item, keys, index, |walk| walk.push(ChangeKind::Added, None, Some(item)));
                    }
                }
                None => self.push(ChangeKind::Added, None, Some(live)),
            },
            live => self.push(ChangeKind::Added, None, Some(live)),
        }
    }

    /// Whether the field is in a PodSpec that is declared to be in the network of its node.
    fn is_on_node(&self) -> bool {
        let Some(below) = in_pod_spec(self.under.kind, &self.names) else { return false };
        let above = self.names.iter().take(self.names.len() - below.len());
        let spec = above.copied().try_fold(self.declared, |value, name| value.get(name));
        spec.and_then(|spec| spec.get("hostNetwork")).and_then(Value::as_bool) == Some(true)
    }

    fn list(&mut self, declared: &'a [Value], live: &'a [Value]) {
        let Some(keys) = self.keys() else { return self.atomic(declared, live) };
        let there = Items::of(live, keys);
        // Where each stands: items are told apart by their addresses, since two may be alike.
        let places: HashMap<*const Value, usize> =
            live.iter().enumerate().map(|(index, item)| (std::ptr::from_ref(item), index)).collect();
        // One item of each kind is declared: a second one with the same keys is somebody else's.
        let mut known = HashSet::new();
        for (index, item) in declared.iter().enumerate() {
            match there.find(item) {
                Some(other) => {
                    known.insert(std::ptr::from_ref(other));
                    let at = places.get(&std::ptr::from_ref(other)).copied().unwrap_or(index);
                    self.item(item, keys, at, |walk| walk.value(item, other, Beside::default()));
                }
                None => self.item(item, keys, index, |walk| walk.push(ChangeKind::Removed, Some(item), None)),
            }
        }
        for (index, item) in live.iter().enumerate().filter(|(_, item)| !known.contains(&std::ptr::from_ref(*item))) {
            self.item(item, keys, index, |walk| walk.push(ChangeKind::Added, None, Some(item)));
        }
    }

    /// A list without merge keys. Its items have no names; where one list is the other with items more, those are named.
    fn atomic(&mut self, declared: &'a [Value], live: &'a [Value]) {
        if declared.len() == live.len() {
            for (index, (item, other)) in declared.iter().zip(live).enumerate() {
                self.at(Step::Index(index), index, |walk| walk.value(item, other, Beside::default()));
            }
            return;
        }
        if let Some(added) = self.beyond(declared, live, |item, other| (item, other)) {
            for (index, item) in added {
                self.at(Step::Index(index), index, |walk| walk.push(ChangeKind::Added, None, Some(item)));
            }
        } else if let Some(removed) = self.beyond(live, declared, |other, item| (item, other)) {
            for (index, item) in removed {
                self.at(Step::Index(index), index, |walk| walk.push(ChangeKind::Removed, Some(item), None));
            }
        } else {
            let (declared, live) = (Value::from(declared.to_vec()), Value::from(live.to_vec()));
            self.push(ChangeKind::Edited, Some(&declared), Some(&live));
        }
    }

    /// The items of `longer` beyond those of `shorter`, if it holds all of these in their order. `pair` puts an item of each
    /// into the order declared, live.
    fn beyond(
        &self,
        shorter: &'a [Value],
        longer: &'a [Value],
        pair: impl Fn(&'a Value, &'a Value) -> (&'a Value, &'a Value),
    ) -> Option<Vec<(usize, &'a Value)>> {
        if shorter.len() >= longer.len() {
            return None;
        }
        let mut more = Vec::new();
        let mut rest = shorter.iter().peekable();
        for (index, item) in longer.iter().enumerate() {
            let same = rest.peek().is_some_and(|one| {
                let (declared, live) = pair(one, item);
                self.same(declared, live)
            });
            if same {
                rest.next();
            } else {
                more.push((index, item));
            }
        }
        rest.next().is_none().then_some(more)
    }

    /// Whether two items of a list without merge keys are the same.
    fn same(&self, declared: &'a Value, live: &'a Value) -> bool {
        if declared == live {
            return true;
        }
        let mut walk = Walk {
            under: self.under,
            form: self.form,
            declared: self.declared,
            steps: Vec::new(),
            names: self.names.clone(),
            pointer: Vec::new(),
            asking: true,
            found: Comparison::default(),
        };
        walk.value(declared, live, Beside::default());
        walk.found.more == 0
    }

    fn keys(&self) -> Option<Keys> {
        let set: Keys = &[];
        merge_keys(self.under.kind, &self.names).or_else(|| self.form.is_set(&self.names).then_some(set))
    }

    fn item(&mut self, item: &'a Value, keys: Keys, index: usize, then: impl FnOnce(&mut Self)) {
        self.at(Step::Item(item, keys), index, then);
    }

    fn at(&mut self, step: Step<'a>, index: usize, then: impl FnOnce(&mut Self)) {
        self.steps.push(step);
        self.pointer.push(Part::Index(index));
        then(self);
        self.pointer.pop();
        self.steps.pop();
    }

    fn enter(&mut self, name: &'a str) {
        self.steps.push(Step::Field(name));
        self.names.push(name);
        self.pointer.push(Part::Name(name));
    }

    fn leave(&mut self) {
        self.pointer.pop();
        self.names.pop();
        self.steps.pop();
    }

    fn push(&mut self, kind: ChangeKind, desired: Option<&Value>, live: Option<&Value>) {
        if self.asking {
            self.found.more += 1;
            return;
        }
        let Compared { kind: object, set, .. } = self.under;
        let site = Site { kind: object, names: &self.names, desired, live, declared: self.declared, set };
        let explained_by = if kind == ChangeKind::Deleted { None } else { explanation(&site).map(|line| line.name) };
        if self.found.changes.len() == MAX_CHANGES {
            self.found.more += 1;
            self.found.more_unexplained |= explained_by.is_none();
            return;
        }
        self.found.changes.push(FieldChange {
            field: FieldPath::new(self.steps.iter().map(Step::segment).collect()),
            pointer: self.pointer.iter().map(Part::to_string).collect(),
            desired: desired.map(|value| self.show(value)),
            live: live.map(|value| self.show(value)),
            class: classify(object, &self.names),
            kind,
            explained_by,
        });
    }

    fn show(&self, value: &Value) -> Value {
        if self.under.visibility == Visibility::Masked {
            return Value::from(MASK);
        }
        let text = value.to_string();
        if text.len() > MAX_VALUE_BYTES { Value::from(shorten(&text)) } else { value.clone() }
    }
}

#[cfg(test)]
#[path = "comparison_tests.rs"]
mod tests;
