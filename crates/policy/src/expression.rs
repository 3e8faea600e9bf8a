//! CEL expressions under a deterministic cost bound: compiled once, the same verdict on every
//! machine. The bound is arithmetic on the syntax tree and on the sizes of the actual lists and texts,
//! never a clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cel::{
    Context, Env, IdedExpr, Program, Value as Cel,
    common::ast::{EntryExpr, Expr},
};
use serde_json::Value;

use crate::{
    convert::to_cel,
    growth::{MAX_COPIED_BYTES, MAX_MADE_BYTES, cost, literal_text},
    pattern::Price,
};

/// The longest source, in bytes. The longest expression of the public policy collections is under
/// 2 KiB; the parser's work grows with the square of some inputs.
pub const MAX_SOURCE_BYTES: usize = 4_096;
/// The most nodes of the syntax tree after macros are expanded: a chain of 1,000 operators needs
/// up to 64 MiB of stack in a debug build ([`EVALUATION_STACK_BYTES`]).
pub const MAX_NODES: u64 = 1_000;
/// The deepest nesting of loops (`all`, `exists`, `map`, `filter`).
pub const MAX_LOOP_DEPTH: u32 = 3;
/// The most steps of one evaluation, as an upper bound: nodes × turns of the loops around them, the text that is read
/// (`growth`) and the patterns that are compiled (`pattern`). A step is taken as 0.1 µs: a tenth of a second.
/// Kubernetes allows 1,000,000 cost units per expression.
pub const MAX_STEPS: u64 = 1_000_000;
/// Stack of the thread that parses and evaluates: address space only, touched as needed.
pub const EVALUATION_STACK_BYTES: usize = 256 << 20;

/// The one variable that is supported yet.
const VARIABLES: [&str; 1] = ["object"];
/// Variables of Kubernetes that are not supported yet.
const LATER_VARIABLES: [&str; 6] = ["oldObject", "request", "params", "namespaceObject", "authorizer", "variables"];
/// Names that stand for types or namespaces of functions.
const TYPE_NAMES: [&str; 14] = [
    "bool",
    "bytes",
    "double",
    "dyn",
    "int",
    "list",
    "map",
    "null_type",
    "optional",
    "optional_type",
    "string",
    "type",
    "uint",
    "google",
];
/// Functions that `cel` evaluates as Kubernetes does. Operators are written as CEL names them.
const FUNCTIONS: [&str; 44] = [
    "size",
    "matches",
    "contains",
    "startsWith",
    "endsWith",
    "string",
    "int",
    "uint",
    "double",
    "bool",
    "bytes",
    "type",
    "dyn",
    "duration",
    "timestamp",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
    "charAt",
    "indexOf",
    "lastIndexOf",
    "join",
    "lowerAscii",
    "upperAscii",
    "replace",
    "split",
    "substring",
    "trim",
    "optional.of",
    "optional.none",
    "optional.ofNonZeroValue",
    "hasValue",
    "value",
    "or",
    "orValue",
    "optMap",
    "optFlatMap",
];

/// Why an expression is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// It does not parse.
    #[error("the expression does not compile: {0}")]
    Compile(String),
    /// It is too long, too large or nested too deep.
    #[error("the expression is too costly: {0}")]
    TooCostly(String),
    /// It matches a pattern whose cost is not bounded, or is over its bound.
    #[error("the pattern of matches is too costly: {0}")]
    CostlyPattern(String),
    /// It names something that is not supported yet.
    #[error("{0} is not supported yet")]
    Unsupported(String),
    /// It names something that does not exist.
    #[error("{0} is not declared")]
    Undeclared(String),
}

/// Why an evaluation gave no verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// The bound on this object is over [`MAX_STEPS`].
    #[error("evaluating costs up to {steps} steps")]
    TooCostly {
        /// The bound.
        steps: u64,
    },
    /// It would make more text than [`MAX_MADE_BYTES`] at once, or than [`MAX_COPIED_BYTES`] in all.
    #[error("evaluating makes up to {bytes} bytes of text")]
    TooLarge {
        /// The bound.
        bytes: u64,
    },
    /// Together with what was evaluated before, it is over the bound of the whole judgement.
    #[error("evaluating costs up to {steps} steps, more than are left of all")]
    NoneLeft {
        /// The bound.
        steps: u64,
    },
    /// It failed.
    #[error("{0}")]
    Failed(String),
    /// It gave something else than a boolean.
    #[error("it gave {0}, not a boolean")]
    NotBoolean(&'static str),
}

/// A compiled expression.
pub struct Expression {
    program: Program,
    env: Arc<Env>,
    source: String,
    patterns: BTreeMap<String, Price>,
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Expression").field(&self.source).finish()
    }
}

/// The environment of all expressions: the standard library with the string extensions.
///
/// # Errors
/// When the library refuses its own extension.
pub fn environment() -> Result<Arc<Env>, ExpressionError> {
    let mut env = Env::stdlib();
    env.add_extension(cel::extensions::strings).map_err(|error| ExpressionError::Compile(error.to_string()))?;
    Ok(Arc::new(env))
}

impl Expression {
    /// Compiles `source`.
    ///
    /// # Errors
    /// When it does not parse, is over a bound, or names something that is not there or not
    /// supported yet.
    pub fn compile(env: &Arc<Env>, source: &str) -> Result<Self, ExpressionError> {
        if source.len() > MAX_SOURCE_BYTES {
            return Err(ExpressionError::TooCostly(format!("{} bytes; at most {MAX_SOURCE_BYTES}", source.len())));
        }
        let program = env.compile(source).map_err(|error| ExpressionError::Compile(one_line(&error.to_string())))?;
        let mut walk = Walk::default();
        walk.node(program.expression(), 0, &mut Vec::new());
        if walk.nodes > MAX_NODES {
            return Err(ExpressionError::TooCostly(format!("{} nodes; at most {MAX_NODES}", walk.nodes)));
        }
        if walk.loop_depth > MAX_LOOP_DEPTH {
            return Err(ExpressionError::TooCostly(format!(
                "loops nested {} deep; at most {MAX_LOOP_DEPTH}",
                walk.loop_depth
            )));
        }
        if let Some(problem) = walk.problems.into_iter().next() {
            return Err(problem);
        }
        Ok(Self { program, env: env.clone(), source: source.to_owned(), patterns: walk.patterns })
    }

    /// The source text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Evaluates on `object`.
    ///
    /// # Errors
    /// When a bound on this object is over its limit, the evaluation fails, or its result is no
    /// boolean.
    pub fn evaluate(&self, object: &Value) -> Result<bool, EvaluationError> {
        let mut all = u64::MAX;
        self.evaluate_within(object, &mut all)
    }

    /// Evaluates on `object`, and takes what that can cost in all off the steps that are `left`.
    pub(crate) fn evaluate_within(&self, object: &Value, left: &mut u64) -> Result<bool, EvaluationError> {
        let cost = cost(self.program.expression(), object, &self.patterns);
        if cost.steps > MAX_STEPS {
            *left = left.saturating_sub(cost.before);
            return Err(EvaluationError::TooCostly { steps: cost.steps });
        }
        if cost.largest > MAX_MADE_BYTES || cost.copied > MAX_COPIED_BYTES {
            *left = left.saturating_sub(cost.before);
            return Err(EvaluationError::TooLarge { bytes: cost.largest.max(cost.copied) });
        }
        *left = left.checked_sub(cost.total()).ok_or(EvaluationError::NoneLeft { steps: cost.total() })?;
        let mut context = Context::with_env(self.env.clone());
        context.add_variable_from_value("object", to_cel(object));
        match self.program.execute(&context) {
            Ok(Cel::Bool(verdict)) => Ok(verdict),
            Ok(other) => Err(EvaluationError::NotBoolean(type_name(&other))),
            Err(error) => Err(EvaluationError::Failed(one_line(&error.to_string()))),
        }
    }
}

/// The library points at places with lines of their own; a message of ours is one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[derive(Default)]
struct Walk {
    nodes: u64,
    loop_depth: u32,
    patterns: BTreeMap<String, Price>,
    problems: Vec<ExpressionError>,
    reported: BTreeSet<String>,
}

impl Walk {
    fn node(&mut self, node: &IdedExpr, depth: u32, bound: &mut Vec<String>) {
        self.nodes += 1;
        match &node.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) => self.name(name, bound),
            Expr::Select(select) => self.node(&select.operand, depth, bound),
            Expr::Call(call) => {
                self.function(&call.func_name);
                if call.func_name == "matches" {
                    self.pattern(call.args.last());
                }
                if let Some(target) = &call.target {
                    self.node(target, depth, bound);
                }
                call.args.iter().for_each(|argument| self.node(argument, depth, bound));
            }
            Expr::List(list) => {
                list.elements.iter().for_each(|element| self.node(element, depth, bound));
            }
            Expr::Map(map) => {
                map.entries.iter().for_each(|entry| self.entry(&entry.expr, depth, bound));
            }
            Expr::Struct(value) => {
                self.problem(ExpressionError::Unsupported(format!("the message type {}", value.type_name)));
                value.entries.iter().for_each(|entry| self.entry(&entry.expr, depth, bound));
            }
            Expr::Comprehension(comprehension) => {
                self.loop_depth = self.loop_depth.max(depth + 1);
                if comprehension.iter_var2.is_some() {
                    self.problem(ExpressionError::Unsupported("a loop with two variables".to_owned()));
                }
                self.node(&comprehension.iter_range, depth, bound);
                self.node(&comprehension.accu_init, depth, bound);
                let outer = bound.len();
                bound.push(comprehension.iter_var.clone());
                bound.push(comprehension.accu_var.clone());
                self.node(&comprehension.loop_cond, depth + 1, bound);
                self.node(&comprehension.loop_step, depth + 1, bound);
                self.node(&comprehension.result, depth, bound);
                bound.truncate(outer);
            }
        }
    }

    fn entry(&mut self, entry: &EntryExpr, depth: u32, bound: &mut Vec<String>) {
        match entry {
            EntryExpr::StructField(field) => self.node(&field.value, depth, bound),
            EntryExpr::MapEntry(entry) => {
                self.node(&entry.key, depth, bound);
                self.node(&entry.value, depth, bound);
            }
        }
    }

    fn name(&mut self, name: &str, bound: &[String]) {
        if bound.iter().any(|bound| bound == name) || VARIABLES.contains(&name) || TYPE_NAMES.contains(&name) {
            return;
        }
        if LATER_VARIABLES.contains(&name) {
            self.problem(ExpressionError::Unsupported(format!("the variable {name}")));
        } else {
            self.problem(ExpressionError::Undeclared(format!("the variable {name}")));
        }
    }

    fn function(&mut self, name: &str) {
        let operator = name.starts_with('_') || name.starts_with('@') || matches!(name, "!_" | "-_");
        if !operator && !FUNCTIONS.contains(&name) {
            self.problem(ExpressionError::Unsupported(format!("the function {name}")));
        }
    }

    fn pattern(&mut self, argument: Option<&IdedExpr>) {
        let Some(pattern) = argument.and_then(literal_text) else {
            return self.problem(ExpressionError::CostlyPattern("it is not a string literal".to_owned()));
        };
        match Price::of(pattern) {
            Ok(price) => drop(self.patterns.insert(pattern.to_owned(), price)),
            Err(problem) => self.problem(problem),
        }
    }

    fn problem(&mut self, problem: ExpressionError) {
        if self.reported.insert(problem.to_string()) {
            self.problems.push(problem);
        }
    }
}

const fn type_name(value: &Cel) -> &'static str {
    match value {
        Cel::List(_) => "a list",
        Cel::Map(_) => "a map",
        Cel::Int(_) | Cel::UInt(_) | Cel::Float(_) => "a number",
        Cel::String(_) => "a string",
        Cel::Null => "null",
        _ => "another type",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(source: &str, object: &Value) -> Result<bool, String> {
        let env = environment().map_err(|error| error.to_string())?;
        let expression = Expression::compile(&env, source).map_err(|error| error.to_string())?;
        expression.evaluate(object).map_err(|error| error.to_string())
    }

    #[test]
    fn integers_are_ints_and_keys_are_plain() {
        assert_eq!(check("object.spec.replicas + 1 <= 4", &json!({"spec": {"replicas": 3}})), Ok(true));
        assert_eq!(
            check("'a.b/c-d' in object.metadata.labels", &json!({"metadata": {"labels": {"a.b/c-d": "x"}}})),
            Ok(true)
        );
        assert_eq!(
            check("object.spec.items.all(i, i.x > 0)", &json!({"spec": {"items": [{"x": 1}, {"x": 0}]}})),
            Ok(false)
        );
        assert_eq!(check("object.?spec.?replicas.orValue(1) == 1", &json!({})), Ok(true));
        assert_eq!(check("type(object.x) == string", &json!({"x": "a"})), Ok(true));
        assert_eq!(
            check("object.x.startsWith('a') && object.x.split('b').size() == 2", &json!({"x": "abc"})),
            Ok(true)
        );
    }

    #[test]
    fn an_absent_field_is_an_error_not_a_pass() {
        assert!(check("object.spec.replicas < 5", &json!({"spec": {}})).is_err());
        assert!(check("object.spec.name", &json!({"spec": {"name": "x"}})).unwrap_err().contains("not a boolean"));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        assert_eq!(check("oldObject == null", &json!({})), Err("the variable oldObject is not supported yet".into()));
        assert_eq!(
            check("quantity(object.x).isGreaterThan(quantity('1'))", &json!({})).unwrap_err(),
            "the function isGreaterThan is not supported yet"
        );
        assert_eq!(check("objct.x == 1", &json!({})), Err("the variable objct is not declared".into()));
        assert!(check("object.x ==", &json!({})).unwrap_err().starts_with("the expression does not compile"));
    }

    #[test]
    fn costly_expressions_are_refused_at_load() {
        let long = vec!["1"; 600].join("+") + " == 600";
        assert!(check(&long, &json!({})).unwrap_err().contains("nodes"), "{:?}", check(&long, &json!({})));
        assert!(check(&format!("'{}' == ''", "x".repeat(5000)), &json!({})).unwrap_err().contains("bytes"));
        let nested = "object.a.all(a, object.a.all(b, object.a.all(c, object.a.all(d, true))))";
        assert!(check(nested, &json!({})).unwrap_err().contains("nested 4 deep"));
    }

    #[test]
    fn the_bound_depends_on_the_object_only() {
        let source = "object.a.all(x, object.a.all(y, object.a.all(z, x == y || y == z || true)))";
        assert_eq!(check(source, &json!({"a": vec![1; 10]})), Ok(true));
        assert!(check(source, &json!({"a": vec![1; 300]})).unwrap_err().starts_with("evaluating costs up to"));
    }

    /// `cel` compiles a pattern anew in every call: 8,000 times here, at tens of milliseconds each.
    #[test]
    fn a_pattern_counts_as_much_as_compiling_it() {
        let looped = |pattern: &str| {
            let twenty = format!("[{}]", vec!["1"; 20].join(","));
            format!("{twenty}.all(a, {twenty}.all(b, {twenty}.all(c, 'x'.matches({pattern}) || true)))")
        };
        let refused = check(&looped("'(\\\\w{40}){20}'"), &json!({})).unwrap_err();
        assert_eq!(refused, "the pattern of matches is too costly: compiled it has more than 32768 bytes");
        assert!(check(&looped("'^[a-z]+$'"), &json!({})).unwrap_err().starts_with("evaluating costs up to"));
        let refused = check("'x'.matches('(' + object.x)", &json!({"x": "a"})).unwrap_err();
        assert_eq!(refused, "the pattern of matches is too costly: it is not a string literal");
        assert!(check("matches(object.x, object.x)", &json!({"x": "a"})).unwrap_err().contains("not a string literal"));
        assert!(check("'x'.matches('(')", &json!({})).unwrap_err().starts_with("the expression does not compile"));
        assert_eq!(check("matches(object.x, '^[a-z]+$')", &json!({"x": "a"})), Ok(true));
        let names: Vec<String> = (0..50).map(|number| format!("name-{number}")).collect();
        assert_eq!(check("object.l.all(n, n.matches('^[a-z0-9-]{1,63}$'))", &json!({"l": names})), Ok(true));
    }

    #[test]
    fn long_texts_count_in_every_turn() {
        let object =
            json!({"t": "x".repeat(1_500_000), "u": "x".repeat(1_500_000), "l": vec!["x"; 100], "m": {"a": 1}});
        for source in [
            "object.l.all(a, object.t.contains('y') || true)",
            "object.l.all(a, object.t == object.u)",
            "object.l.all(a, object.t.size() > 0)",
            "object.l.all(a, !(object.t in object.m))",
            "object.l.all(a, object.t.endsWith(object.u))",
            "object.l.all(a, !(object.t in [object.u]))",
            "object.l.all(a, object.t < 'y' + object.u)",
            "object.l.all(a, [object.t].size() == 1)",
            "object.l.all(a, object.?t.hasValue())",
            "object.l.all(a, object == object)",
            "object.t.indexOf(object.u) == 0",
            "object.t.matches('^[a-z]+$')",
            "object.l.map(a, object).all(b, true)",
        ] {
            assert!(check(source, &object).unwrap_err().starts_with("evaluating costs up to"), "{source}");
        }
        for source in [
            "object.t.contains('y') || object.t.size() > 0",
            "object.l.all(a, a == object.t || a == 'x')",
            "object.l.all(a, object.m.a == 1 && object.m['a'] == 1 && has(object.t))",
            "object.t == object.u",
        ] {
            assert_eq!(check(source, &object), Ok(true), "{source}");
        }
    }

    #[test]
    fn splitting_counts_the_text() {
        let source = "object.t.split('').all(x, object.t.split('').all(y, true))";
        assert!(check(source, &json!({"t": "x".repeat(5000)})).unwrap_err().starts_with("evaluating costs up to"));
    }
}
