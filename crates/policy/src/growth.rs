//! How much text an expression can make on an object: an upper bound from the syntax tree and the sizes in the object,
//! the same on every machine, before anything is evaluated.
//!
//! What is only passed on is shared and makes nothing. What makes text is `+`, `replace`, `join`, `split` and the
//! functions that change a text; what makes lists is a literal, `+`, and the loops of `map` and `filter`.

use cel::{
    IdedExpr,
    common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue},
};
use serde_json::Value;

/// The most bytes of one value that is made: four times the largest file that is read. A few are alive at once.
pub const MAX_MADE_BYTES: u64 = 64 << 20;
/// The most bytes that are made in all: copied at 1 GB/s they take a second.
pub const MAX_COPIED_BYTES: u64 = 1 << 30;

/// What gives a number or a truth value.
const SCALAR: [&str; 30] = [
    "_&&_",
    "_||_",
    "!_",
    "_==_",
    "_!=_",
    "_<_",
    "_<=_",
    "_>_",
    "_>=_",
    "@in",
    "_-_",
    "_*_",
    "_/_",
    "_%_",
    "-_",
    "size",
    "matches",
    "contains",
    "startsWith",
    "endsWith",
    "indexOf",
    "lastIndexOf",
    "int",
    "uint",
    "double",
    "bool",
    "type",
    "hasValue",
    "timestamp",
    "duration",
];
/// One element of a list, beside what it refers to.
const ELEMENT_BYTES: u64 = 48;
/// The longest text of a number or an instant: 2^1023 in digits.
const NUMBER_BYTES: u64 = 400;

/// The largest collection and text of an object, and what they have in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Elements of the largest list or map.
    pub(crate) collection: u64,
    /// Bytes of the longest text; names of fields are texts too.
    pub(crate) text: u64,
}

impl Sizes {
    pub(crate) fn of(value: &Value) -> Self {
        let mut sizes = Self::default();
        let mut left = vec![value];
        while let Some(value) = left.pop() {
            match value {
                Value::Array(items) => {
                    sizes.collection = sizes.collection.max(items.len() as u64);
                    left.extend(items);
                }
                Value::Object(fields) => {
                    sizes.collection = sizes.collection.max(fields.len() as u64);
                    sizes.text = fields.keys().fold(sizes.text, |text, name| text.max(name.len() as u64));
                    left.extend(fields.values());
                }
                Value::String(text) => sizes.text = sizes.text.max(text.len() as u64),
                _ => {}
            }
        }
        sizes
    }
}

/// What is made when `expression` is evaluated on an object of these sizes: the largest value, and all of them; bytes.
pub(crate) fn made(expression: &IdedExpr, object: Sizes) -> (u64, u64) {
    let object = Bound { text: object.text, items: object.collection, nested: object.collection, made: 0 };
    let mut growth = Growth { object, scope: Vec::new(), largest: 0, copied: 0 };
    growth.of(expression, 1);
    (growth.largest, growth.copied)
}

/// Bounds of a value.
#[derive(Debug, Clone, Copy, Default)]
struct Bound {
    /// Bytes of the longest text in it.
    text: u64,
    /// Its elements, if it is a collection.
    items: u64,
    /// Elements of the largest collection in it.
    nested: u64,
    /// Bytes that were made for it, beside what it shares with others.
    made: u64,
}

impl Bound {
    fn max(self, other: Self) -> Self {
        Self {
            text: self.text.max(other.text),
            items: self.items.max(other.items),
            nested: self.nested.max(other.nested),
            made: self.made.max(other.made),
        }
    }

    /// Any element of it.
    const fn element(self) -> Self {
        Self { items: self.nested, ..self }
    }

    /// After `turns` that each add what the first one added.
    fn grown(self, first: Self, turns: u64) -> Self {
        let more = first.items.saturating_sub(self.items);
        Self {
            items: self.items.saturating_add(more.saturating_mul(turns)),
            made: self.made.saturating_add(first.made.saturating_mul(turns)),
            ..self.max(first)
        }
    }
}

struct Growth {
    object: Bound,
    scope: Vec<(String, Bound)>,
    largest: u64,
    copied: u64,
}

impl Growth {
    fn of(&mut self, node: &IdedExpr, turns: u64) -> Bound {
        match &node.expr {
            Expr::Unspecified => Bound::default(),
            Expr::Literal(LiteralValue::String(text)) => Bound { text: text.len() as u64, ..Bound::default() },
            Expr::Literal(LiteralValue::Bytes(bytes)) => Bound { text: bytes.len() as u64, ..Bound::default() },
            Expr::Literal(_) => Bound::default(),
            Expr::Ident(name) => match self.scope.iter().rev().find(|(bound, _)| bound == name) {
                Some((_, bound)) => Bound { made: 0, ..*bound },
                None if name == "object" => self.object,
                None => Bound::default(),
            },
            Expr::Select(select) => self.of(&select.operand, turns).element(),
            Expr::Call(call) => self.call(call, turns),
            Expr::List(list) => self.elements(list.elements.iter(), turns),
            Expr::Map(map) => self.elements(map.entries.iter().flat_map(|entry| parts(&entry.expr)), turns),
            Expr::Struct(value) => self.elements(value.entries.iter().flat_map(|entry| parts(&entry.expr)), turns),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, turns),
        }
    }

    fn elements<'e>(&mut self, elements: impl Iterator<Item = &'e IdedExpr>, turns: u64) -> Bound {
        let (mut whole, mut made, mut count) = (Bound::default(), 0_u64, 0_u64);
        for element in elements {
            let bound = self.of(element, turns);
            whole = whole.max(bound);
            made = made.saturating_add(bound.made).saturating_add(ELEMENT_BYTES);
            count += 1;
        }
        self.note(Bound { items: count, nested: whole.items.max(whole.nested), made, ..whole }, 0, turns)
    }

    fn call(&mut self, call: &CallExpr, turns: u64) -> Bound {
        let operands: Vec<Bound> =
            call.target.as_deref().into_iter().chain(&call.args).map(|operand| self.of(operand, turns)).collect();
        let of = |position: usize| operands.get(position).copied().unwrap_or_default();
        let text = |text: u64| Bound { text, made: text, ..Bound::default() };
        let (first, second) = (of(0), of(1));
        match call.func_name.as_str() {
            "_+_" if call.args.iter().any(|operand| matches!(operand.expr, Expr::List(_))) => {
                let items = first.items.saturating_add(second.items);
                let made = first.made.saturating_add(second.made);
                self.note(Bound { items, made, ..first.max(second) }, ELEMENT_BYTES, turns)
            }
            // Two texts or two lists: only the evaluation knows.
            "_+_" => {
                let items = first.items.saturating_add(second.items);
                let joined = text(first.text.saturating_add(second.text));
                let made = first.made.saturating_add(second.made).saturating_add(joined.text);
                let made = made.saturating_add(items.saturating_mul(ELEMENT_BYTES));
                self.note(Bound { items, nested: first.nested.max(second.nested), made, ..joined }, made, turns)
            }
            // Nothing is found before, between and after all characters.
            "replace" => {
                let places = first.text.saturating_add(1);
                let made = first.text.saturating_add(places.saturating_mul(of(2).text));
                self.note(text(made), made, turns)
            }
            "join" => {
                let made = first.items.saturating_mul(first.text.saturating_add(second.text));
                self.note(text(made), made, turns)
            }
            "split" => {
                let items = first.text.saturating_add(1);
                let made = first.text.saturating_add(items.saturating_mul(ELEMENT_BYTES));
                self.note(Bound { text: first.text, items, nested: 0, made }, made, turns)
            }
            "string" | "bytes" => {
                let made = first.text.max(NUMBER_BYTES);
                self.note(text(made), made, turns)
            }
            "lowerAscii" | "upperAscii" | "trim" | "substring" | "charAt" => {
                self.note(text(first.text), first.text, turns)
            }
            "_[_]" | "_[?_]" | "_?._" => first.element(),
            name if SCALAR.contains(&name) => Bound::default(),
            // A choice, or a function that passes on what it got.
            _ => operands.into_iter().fold(Bound::default(), Bound::max),
        }
    }

    fn comprehension(&mut self, comprehension: &ComprehensionExpr, turns: u64) -> Bound {
        let range = self.of(&comprehension.iter_range, turns);
        let start = self.of(&comprehension.accu_init, turns);
        let inner = turns.saturating_mul(range.items);
        let outer = self.scope.len();
        self.scope.push((comprehension.iter_var.clone(), range.element()));
        self.scope.push((comprehension.accu_var.clone(), start));
        self.of(&comprehension.loop_cond, inner);
        let first = self.of(&comprehension.loop_step, inner);
        let end = self.note(start.grown(first, range.items), 0, turns);
        self.scope.truncate(outer);
        self.scope.push((comprehension.accu_var.clone(), end));
        let result = self.of(&comprehension.result, turns);
        self.scope.truncate(outer);
        result
    }

    /// Notes a value that is made in each of `turns`, of which `copied` bytes are new.
    fn note(&mut self, bound: Bound, copied: u64, turns: u64) -> Bound {
        self.largest = self.largest.max(bound.made);
        self.copied = self.copied.saturating_add(copied.saturating_mul(turns));
        bound
    }
}

fn parts(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{EvaluationError, Expression, environment};

    fn bounds(source: &str, object: &Value) -> (u64, u64) {
        let program = environment().unwrap().compile(source).unwrap();
        made(program.expression(), Sizes::of(object))
    }

    /// Refused before it is evaluated: these would make up to 10^18 bytes.
    #[test]
    fn texts_that_grow_without_measure_are_refused() {
        let object = json!({"a": "x".repeat(1_000_000), "l": vec!["y"; 1_000]});
        for source in [
            "object.a.replace('', object.a) == ''",
            "object.a.replace('x', object.a).replace('x', object.a).size() > 0",
            "object.l.map(e, object.a + e).size() > 0",
            "object.l.map(e, object.a).join(object.a) == ''",
            "object.l.map(e, object.l.map(f, e + f + object.a)).size() > 0",
            "object.l.all(e, object.l.all(f, (object.a + e).contains(f)))",
            "[object.a + 'a', object.a + 'b'].map(e, e.replace('', '0123456789')).map(e, e + e + e + e + e + e).size() > 0",
        ] {
            let expression = Expression::compile(&environment().unwrap(), source).unwrap();
            let error = expression.evaluate(&object).unwrap_err();
            assert!(
                matches!(error, EvaluationError::TooLarge { .. } | EvaluationError::TooCostly { .. }),
                "{source}: {error}"
            );
        }
    }

    #[test]
    fn what_policies_do_with_large_objects_is_not() {
        let values: serde_json::Map<String, Value> =
            (0..500).map(|number| (format!("key-{number}"), json!("v".repeat(2_000)))).collect();
        let object = json!({"data": values, "metadata": {"name": "n", "labels": {"app": "shop"}}});
        for source in [
            "object.data.all(k, object.data[k].size() < 5000)",
            "object.data.all(k, object.data[k].lowerAscii() == object.data[k])",
            "object.data.map(k, object.data[k]).filter(v, v.startsWith('v')).size() == 500",
            "'team-' + object.metadata.name.split('-')[0] + object.metadata.labels['app'] != ''",
            "object.data.exists(k, k.replace('-', '_') == 'key_7')",
            "object.data.map(k, k + '=' + object.data[k]).size() == 500",
        ] {
            let expression = Expression::compile(&environment().unwrap(), source).unwrap();
            assert_eq!(expression.evaluate(&object), Ok(true), "{source}");
        }
    }

    #[test]
    fn the_bound_is_not_below_what_is_made() {
        let object = json!({"a": "ab", "l": ["c", "def"]});
        // a + 2 more · 3 places of "def" and "ab" itself · two elements with a separator
        assert!(bounds("object.a + 'xy'", &object).0 >= 4);
        assert!(bounds("object.a.replace('', 'def')", &object).0 >= 11);
        assert!(bounds("object.l.join(', ')", &object).0 >= 6);
        assert!(bounds("object.l.map(e, e + e)", &object).0 >= 8);
        assert_eq!(bounds("object.a == object.l[0]", &object), (0, 0));
        assert_eq!(bounds("object.l.all(e, e.startsWith('c'))", &object).1, 0);
    }
}
