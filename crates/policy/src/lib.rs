//! Rules over manifests: ValidatingAdmissionPolicies judged in process, before the first write.
//!
//! A *decide* crate: no I/O, no clock, no environment; the only user of `cel`. A set is loaded as a
//! whole or not at all; an error is a denial; the cost bound is arithmetic, so a verdict does not
//! depend on the machine.
//!
//! | question | where |
//! |---|---|
//! | which fields of a policy are supported | `admission` |
//! | which expressions are accepted, and what they may cost | `expression`, `growth`, `pattern` |
//! | which objects a policy judges, and what it says | `set` |

mod admission;
mod code;
mod convert;
mod expression;
mod growth;
mod pattern;
mod set;

pub use admission::{AdmissionBinding, AdmissionPolicy, MAX_RULES, MAX_VALIDATIONS};
pub use code::PolicyCode;
pub use expression::{
    EVALUATION_STACK_BYTES, EvaluationError, Expression, ExpressionError, MAX_LOOP_DEPTH, MAX_NODES, MAX_SOURCE_BYTES,
    MAX_STEPS, environment,
};
pub use growth::{MAX_COPIED_BYTES, MAX_MADE_BYTES};
pub use pattern::{MAX_PATTERN_BYTES, MAX_PATTERN_SIZE};
pub use set::{Facts, MAX_FINDINGS, MAX_POLICIES, MAX_SET_STEPS, Operation, PolicySet};
