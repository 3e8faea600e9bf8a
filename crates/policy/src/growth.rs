//! What evaluating an expression can cost on an object: an upper bound from the syntax tree and the sizes in the object,
//! the same on every machine, before anything is evaluated.
//!
//! Steps are nodes that are evaluated, times the turns of the loops around them, and what `cel` reads, compares or copies
//! on the way: 64 bytes of text are a step. An element is copied into the variable of a loop and into a list, whole.
//! What makes text is `+`, `replace`, `join`, `split` and the functions that change a text; what makes lists is a literal,
//! `+`, and the loops of `map` and `filter`.

use std::collections::BTreeMap;

use cel::{
    IdedExpr,
    common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue},
};
use serde_json::Value;

use crate::pattern::Price;

/// The most bytes of one value that is made: four times the largest file that is read. A few are alive at once.
pub const MAX_MADE_BYTES: u64 = 64 << 20;
/// The most bytes that are made in all: copied at 1 GB/s they take a second.
pub const MAX_COPIED_BYTES: u64 = 1 << 30;
/// Bytes of text that are read, compared or copied in a step: 64 ns at 1 GB/s, and a step is taken as 0.1 µs.
pub(crate) const BYTES_PER_STEP: u64 = 64;

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

/// Bounds of one evaluation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Steps of the evaluation itself.
    pub(crate) steps: u64,
    /// Steps of what goes before it: measuring and converting the object.
    pub(crate) before: u64,
    /// Bytes of the largest value that is made.
    pub(crate) largest: u64,
    /// Bytes that are made in all.
    pub(crate) copied: u64,
}

impl Cost {
    /// Everything, in steps.
    pub(crate) fn total(&self) -> u64 {
        self.steps.saturating_add(self.before).saturating_add(self.copied / BYTES_PER_STEP)
    }
}

/// What evaluating `expression` on `object` can cost, given the prices of its patterns.
pub(crate) fn cost(expression: &IdedExpr, object: &Value, patterns: &BTreeMap<String, Price>) -> Cost {
    let cost = Cost { before: Bound::of(object).weight, ..Cost::default() };
    let mut growth = Growth { object, patterns, scope: Vec::new(), measured: BTreeMap::new(), cost };
    growth.of(expression, 1);
    growth.cost
}

/// Bounds of a value.
#[derive(Debug, Clone, Copy, Default)]
struct Bound<'v> {
    /// Bytes of the longest text in it; names of fields are texts too.
    text: u64,
    /// Its elements, if it is a collection.
    items: u64,
    /// Elements of the largest collection in it.
    nested: u64,
    /// Steps of reading or copying it whole.
    weight: u64,
    /// The same of its heaviest element.
    part: u64,
    /// Bytes that were made for it, beside what it shares with others.
    made: u64,
    /// The value of the object that it is, not measured yet.
    known: Option<&'v Value>,
}

impl Bound<'_> {
    /// Bounds of a value of the object.
    fn of(value: &Value) -> Self {
        let mut bound = Self { weight: 1, ..Self::default() };
        match value {
            Value::String(text) => bound = Self::text(text.len() as u64),
            Value::Array(items) => {
                bound.items = items.len() as u64;
                items.iter().for_each(|item| bound.add(Self::of(item)));
            }
            Value::Object(fields) => {
                bound.items = fields.len() as u64;
                for (name, value) in fields {
                    bound.add(Self::text(name.len() as u64));
                    bound.add(Self::of(value));
                }
            }
            _ => {}
        }
        bound
    }

    /// Takes `element` in.
    fn add(&mut self, element: Self) {
        self.text = self.text.max(element.text);
        self.nested = self.nested.max(element.items).max(element.nested);
        self.weight = self.weight.saturating_add(element.weight);
        self.part = self.part.max(element.weight);
        self.made = self.made.saturating_add(element.made);
    }

    fn text(text: u64) -> Self {
        Self { text, weight: 1 + text / BYTES_PER_STEP, ..Self::default() }
    }

    fn made_text(text: u64) -> Self {
        Self { made: text, ..Self::text(text) }
    }

    fn max(self, other: Self) -> Self {
        Self {
            text: self.text.max(other.text),
            items: self.items.max(other.items),
            nested: self.nested.max(other.nested),
            weight: self.weight.max(other.weight),
            part: self.part.max(other.part),
            made: self.made.max(other.made),
            known: None,
        }
    }

    /// Any element of it.
    const fn element(self) -> Self {
        Self { items: self.nested, weight: self.part, ..self }
    }

    /// After `turns` that each add what the first one added.
    fn grown(self, first: Self, turns: u64) -> Self {
        let more = first.items.saturating_sub(self.items);
        let heavier = first.weight.saturating_sub(self.weight);
        let whole = self.max(first);
        Self {
            items: self.items.saturating_add(more.saturating_mul(turns)),
            weight: whole.weight.max(self.weight.saturating_add(heavier.saturating_mul(turns))),
            made: self.made.saturating_add(first.made.saturating_mul(turns)),
            ..whole
        }
    }
}

struct Growth<'v> {
    object: &'v Value,
    patterns: &'v BTreeMap<String, Price>,
    scope: Vec<(String, Bound<'v>)>,
    /// What was measured, by address.
    measured: BTreeMap<*const Value, Bound<'v>>,
    cost: Cost,
}

impl<'v> Growth<'v> {
    fn of(&mut self, node: &IdedExpr, turns: u64) -> Bound<'v> {
        let bound = self.maybe_known(node, turns);
        self.measure(bound)
    }

    fn measure(&mut self, bound: Bound<'v>) -> Bound<'v> {
        let Some(value) = bound.known else { return bound };
        if let Some(bound) = self.measured.get(&std::ptr::from_ref(value)) {
            return *bound;
        }
        let bound = Bound::of(value);
        self.cost.before = self.cost.before.saturating_add(bound.weight);
        self.measured.insert(std::ptr::from_ref(value), bound);
        bound
    }

    /// Bounds of what `node` gives, or the value itself where it is a place in the object.
    fn maybe_known(&mut self, node: &IdedExpr, turns: u64) -> Bound<'v> {
        self.steps(1, turns);
        match &node.expr {
            Expr::Literal(LiteralValue::String(text)) => self.literal(text.len(), turns),
            Expr::Literal(LiteralValue::Bytes(bytes)) => self.literal(bytes.len(), turns),
            Expr::Literal(_) | Expr::Unspecified => Bound::default(),
            Expr::Ident(name) => match self.scope.iter().rev().find(|(bound, _)| bound == name) {
                Some((_, bound)) => Bound { made: 0, ..*bound },
                None if name == "object" => Bound { known: Some(self.object), ..Bound::default() },
                None => Bound::default(),
            },
            Expr::Select(select) => {
                let operand = self.maybe_known(&select.operand, turns);
                self.field(operand, Some(&select.field))
            }
            Expr::Call(call) => match (call.func_name.as_str(), call.target.as_deref(), call.args.as_slice()) {
                (name @ ("_[_]" | "_[?_]" | "_?._"), None, [operand, key]) => {
                    let operand = self.maybe_known(operand, turns);
                    let text = self.of(key, turns).text;
                    let element = self.field(operand, literal_text(key));
                    // What may be absent is copied.
                    let copied = if name == "_[_]" { 0 } else { self.measure(element).weight };
                    self.steps(copied.saturating_add(text / BYTES_PER_STEP), turns);
                    element
                }
                _ => self.call(call, turns),
            },
            Expr::List(list) => self.elements(list.elements.iter(), turns),
            Expr::Map(map) => self.elements(map.entries.iter().flat_map(|entry| parts(&entry.expr)), turns),
            Expr::Struct(value) => self.elements(value.entries.iter().flat_map(|entry| parts(&entry.expr)), turns),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, turns),
        }
    }

    fn literal(&mut self, bytes: usize, turns: u64) -> Bound<'v> {
        let bound = Bound::text(bytes as u64);
        self.steps(bound.weight, turns);
        bound
    }

    fn field(&mut self, operand: Bound<'v>, name: Option<&str>) -> Bound<'v> {
        match (operand.known, name) {
            (Some(Value::Object(fields)), Some(name)) => Bound { known: fields.get(name), ..Bound::default() },
            _ => self.measure(operand).element(),
        }
    }

    fn elements<'e>(&mut self, elements: impl Iterator<Item = &'e IdedExpr>, turns: u64) -> Bound<'v> {
        let mut whole = Bound { weight: 1, ..Bound::default() };
        for element in elements {
            let bound = self.of(element, turns);
            whole.add(Bound { made: bound.made.saturating_add(ELEMENT_BYTES), weight: bound.weight.max(1), ..bound });
            whole.items += 1;
        }
        self.steps(whole.weight, turns);
        self.note(whole, 0, turns)
    }

    fn call(&mut self, call: &CallExpr, turns: u64) -> Bound<'v> {
        let operands: Vec<Bound<'v>> =
            call.target.as_deref().into_iter().chain(&call.args).map(|operand| self.of(operand, turns)).collect();
        self.steps(self.work(call, &operands), turns);
        let of = |position: usize| operands.get(position).copied().unwrap_or_default();
        let (first, second) = (of(0), of(1));
        match call.func_name.as_str() {
            // Two texts or two lists: only the evaluation knows, unless one is written as a list.
            "_+_" => {
                let items = first.items.saturating_add(second.items);
                let made = first.made.saturating_add(second.made);
                let weight = first.weight.saturating_add(second.weight).saturating_add(1);
                let whole = Bound { items, made, weight, ..first.max(second) };
                if call.args.iter().any(|operand| matches!(operand.expr, Expr::List(_))) {
                    return self.note(whole, ELEMENT_BYTES, turns);
                }
                let text = first.text.saturating_add(second.text);
                let made = made.saturating_add(text).saturating_add(items.saturating_mul(ELEMENT_BYTES));
                self.note(Bound { text, made, ..whole }, made, turns)
            }
            // Nothing is found before, between and after all characters.
            "replace" => {
                let places = first.text.saturating_add(1);
                let made = first.text.saturating_add(places.saturating_mul(of(2).text));
                self.note(Bound::made_text(made), made, turns)
            }
            "join" => {
                let made = first.items.saturating_mul(first.text.saturating_add(second.text));
                self.note(Bound::made_text(made), made, turns)
            }
            "split" => {
                let items = first.text.saturating_add(1);
                let made = first.text.saturating_add(items.saturating_mul(ELEMENT_BYTES));
                let part = Bound::text(first.text);
                self.note(Bound { items, made, part: part.weight, weight: part.weight + items, ..part }, made, turns)
            }
            "string" | "bytes" => {
                let made = first.text.max(NUMBER_BYTES);
                self.note(Bound::made_text(made), made, turns)
            }
            "lowerAscii" | "upperAscii" | "trim" | "substring" | "charAt" => {
                self.note(Bound::made_text(first.text), first.text, turns)
            }
            name if SCALAR.contains(&name) => Bound::default(),
            // A choice, or a function that passes on what it got.
            _ => operands.into_iter().fold(Bound::default(), Bound::max),
        }
    }

    /// Steps of a call beside its node: what it reads, compares or copies.
    fn work(&self, call: &CallExpr, operands: &[Bound<'v>]) -> u64 {
        let of = |position: usize| operands.get(position).copied().unwrap_or_default();
        let (first, second) = (of(0), of(1));
        let read = operands.iter().fold(0_u64, |sum, operand| sum.saturating_add(operand.text / BYTES_PER_STEP));
        let whole = operands.iter().fold(0_u64, |sum, operand| sum.saturating_add(operand.weight));
        match call.func_name.as_str() {
            "_&&_" | "_||_" | "!_" | "_?_:_" | "@not_strictly_false" => 0,
            // Values of different sizes differ at once.
            "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_" => first.weight.min(second.weight),
            "@in" => {
                let each = second.items.saturating_mul(first.weight.saturating_add(1));
                // In a map the name is looked up.
                each.min(second.items.saturating_add(second.weight)).saturating_add(first.text / BYTES_PER_STEP)
            }
            "matches" => {
                let price = call.args.last().and_then(literal_text).and_then(|pattern| self.patterns.get(pattern));
                price.map_or(u64::MAX, |price| price.steps(first.text))
            }
            // These compare at every place, and turn both into characters first.
            "indexOf" | "lastIndexOf" => {
                first.text.saturating_mul(second.text.saturating_add(4)).saturating_add(second.text) / BYTES_PER_STEP
            }
            "_+_" | "join" => read.saturating_add(whole),
            name if SCALAR.contains(&name) || makes_text(name) => read,
            _ => whole,
        }
    }

    fn comprehension(&mut self, comprehension: &ComprehensionExpr, turns: u64) -> Bound<'v> {
        let range = self.of(&comprehension.iter_range, turns);
        let start = self.of(&comprehension.accu_init, turns);
        // Each element is copied into the variable.
        self.steps(range.weight, turns);
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

    fn steps(&mut self, steps: u64, turns: u64) {
        self.cost.steps = self.cost.steps.saturating_add(steps.saturating_mul(turns));
    }

    /// Notes a value that is made in each of `turns`, of which `copied` bytes are new.
    fn note(&mut self, bound: Bound<'v>, copied: u64, turns: u64) -> Bound<'v> {
        self.cost.largest = self.cost.largest.max(bound.made);
        self.cost.copied = self.cost.copied.saturating_add(copied.saturating_mul(turns));
        bound
    }
}

fn makes_text(function: &str) -> bool {
    matches!(
        function,
        "replace" | "split" | "string" | "bytes" | "lowerAscii" | "upperAscii" | "trim" | "substring" | "charAt"
    )
}

/// The text of a literal.
pub(crate) fn literal_text(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
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
        let cost = cost(program.expression(), object, &BTreeMap::new());
        (cost.largest, cost.copied)
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
