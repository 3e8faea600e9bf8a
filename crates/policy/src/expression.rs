//! CEL expressions under a deterministic cost bound: compiled once, the same verdict on every
//! machine. The bound is arithmetic on the syntax tree and on the sizes of the actual lists, never
//! a clock.

use std::{collections::BTreeSet, sync::Arc};

use cel::{
    Context, Env, IdedExpr, Program, Value as Cel,
    common::ast::{EntryExpr, Expr},
};
use serde_json::Value;

use crate::{
    convert::to_cel,
    growth::{MAX_COPIED_BYTES, MAX_MADE_BYTES, Sizes, made},
};

/// The longest source, in bytes. The longest expression of the public policy collections is under
/// 2 KiB; the parser's work grows with the square of some inputs.
pub const MAX_SOURCE_BYTES: usize = 4_096;
/// The most nodes of the syntax tree after macros are expanded: a chain of 1,000 operators needs
/// up to 64 MiB of stack in a debug build ([`EVALUATION_STACK_BYTES`]).
pub const MAX_NODES: u64 = 1_000;
/// The deepest nesting of loops (`all`, `exists`, `map`, `filter`).
pub const MAX_LOOP_DEPTH: u32 = 3;
/// The most steps of one evaluation, as an upper bound: nodes × (longest list) ^ (loop depth).
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
    shape: Shape,
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Expression").field(&self.source).finish()
    }
}

/// What the bound is computed from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Shape {
    nodes: u64,
    loop_depth: u32,
    /// Operators that make a longer list or string than their operands.
    growth: u64,
    /// Functions that make a list out of a string.
    splits: bool,
    /// Elements of the longest literal list.
    literal: u64,
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
        if walk.shape.nodes > MAX_NODES {
            return Err(ExpressionError::TooCostly(format!("{} nodes; at most {MAX_NODES}", walk.shape.nodes)));
        }
        if walk.shape.loop_depth > MAX_LOOP_DEPTH {
            return Err(ExpressionError::TooCostly(format!(
                "loops nested {} deep; at most {MAX_LOOP_DEPTH}",
                walk.shape.loop_depth
            )));
        }
        if let Some(problem) = walk.problems.into_iter().next() {
            return Err(problem);
        }
        Ok(Self { program, env: env.clone(), source: source.to_owned(), shape: walk.shape })
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
        let sizes = Sizes::of(object);
        let steps = self.shape.steps(&sizes);
        if steps > MAX_STEPS {
            return Err(EvaluationError::TooCostly { steps });
        }
        let (largest, copied) = made(self.program.expression(), sizes);
        if largest > MAX_MADE_BYTES || copied > MAX_COPIED_BYTES {
            return Err(EvaluationError::TooLarge { bytes: largest.max(copied) });
        }
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

impl Shape {
    /// An upper bound of the steps on `object`: every node runs once per turn of the loops around
    /// it, a loop turns once per element, and no list is longer than the longest one of the object
    /// (or literal), times the operators that can lengthen it.
    fn steps(&self, sizes: &Sizes) -> u64 {
        let mut longest = sizes.collection.max(self.literal).max(1);
        if self.splits {
            longest = longest.max(sizes.text);
        }
        let longest = longest.saturating_mul(self.growth + 1);
        self.nodes.saturating_mul(longest.saturating_pow(self.loop_depth))
    }
}

#[derive(Default)]
struct Walk {
    shape: Shape,
    problems: Vec<ExpressionError>,
    reported: BTreeSet<String>,
}

impl Walk {
    fn node(&mut self, node: &IdedExpr, depth: u32, bound: &mut Vec<String>) {
        self.shape.nodes += 1;
        match &node.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) => self.name(name, bound),
            Expr::Select(select) => self.node(&select.operand, depth, bound),
            Expr::Call(call) => {
                self.function(&call.func_name);
                if let Some(target) = &call.target {
                    self.node(target, depth, bound);
                }
                call.args.iter().for_each(|argument| self.node(argument, depth, bound));
            }
            Expr::List(list) => {
                self.shape.literal = self.shape.literal.max(list.elements.len() as u64);
                list.elements.iter().for_each(|element| self.node(element, depth, bound));
            }
            Expr::Map(map) => {
                self.shape.literal = self.shape.literal.max(map.entries.len() as u64);
                map.entries.iter().for_each(|entry| self.entry(&entry.expr, depth, bound));
            }
            Expr::Struct(value) => {
                self.problem(ExpressionError::Unsupported(format!("the message type {}", value.type_name)));
                value.entries.iter().for_each(|entry| self.entry(&entry.expr, depth, bound));
            }
            Expr::Comprehension(comprehension) => {
                self.shape.loop_depth = self.shape.loop_depth.max(depth + 1);
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
        // `+` joins lists and strings; `replace` and `join` make longer strings.
        if matches!(name, "_+_" | "replace" | "join") {
            self.shape.growth += 1;
        }
        if name == "split" {
            self.shape.splits = true;
        }
        if !operator && !FUNCTIONS.contains(&name) {
            self.problem(ExpressionError::Unsupported(format!("the function {name}")));
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

    #[test]
    fn splitting_counts_the_text() {
        let source = "object.t.split('').all(x, object.t.split('').all(y, true))";
        assert!(check(source, &json!({"t": "x".repeat(5000)})).unwrap_err().starts_with("evaluating costs up to"));
    }
}
