//! The decision: what differs, what to do, or why not.
//!
//! A *decide* crate: values in, values out; no I/O, no clock, no environment. One function,
//! [`decide`], answers push, drift and removal. What it approves is an [`ApprovedPlan`], which
//! nothing else can make; what it refuses is a [`Refusal`] with findings that name the fix.
//!
//! | question | where |
//! |---|---|
//! | what happens on a push, a drift, a removal | `decide` |
//! | what becomes of each object | `draft` |
//! | what is said of drift | `drift_report` |
//! | which fields differ | `compare` |
//! | the whole comparison, additions and explanations with it | `comparison` |
//! | which forms of a value are the same | `server_form` |
//! | what the server puts where nothing is declared | `defaults` |
//! | who changes fields in ordinary operation | `catalogue` |
//! | who changed an object, and how that is known | `actor` |
//! | how much a field matters | `field_class` |
//! | what was known of drift, as the log tells it | `history` |
//! | what is there beyond the declaration | `surplus` |
//! | in which order | `order` |
//! | how much may be deleted | `guard` |
//! | whose order a Sync or GitSource spec is | `orders` |
//! | what a Sync can say | `sync` |
//! | when revisions may advance | `window`, `cron` |

mod actor;
mod catalogue;
mod code;
mod compare;
mod comparison;
mod cron;
mod decide;
mod decision;
mod defaults;
mod desired;
mod desired_object;
mod draft;
mod drift_report;
mod field_class;
mod guard;
mod hindrance;
mod history;
mod lint;
mod live;
mod order;
mod orders;
mod server_form;
mod surplus;
mod sync;
mod window;

pub use actor::{
    Actor, ActorClass, Attribution, Confidence, Level, MAX_ACTOR_GROUPS, MAX_ACTOR_TEXT, MAX_ACTORS, actor_text,
};
pub use catalogue::{Alone, CATALOGUE_VERSION, DeclaredSet, Mutator, Site, catalogue, explanation};
pub use code::PlanCode;
pub use compare::{FieldDiff, MAX_DIFFERENCES, MAX_SHOWN_CHARACTERS, Visibility, declared_differences, differences};
pub use comparison::{ChangeKind, Compared, Comparison, FieldChange, MAX_CHANGES, MAX_VALUE_BYTES, compare};
pub use cron::CronError;
pub use decide::{Inputs, Question, decide};
pub use decision::{
    Action, ApprovedPlan, Change, Conflicts, Counts, Decision, DriftReport, Fidelity, PlanOrigin, Proposal, Refusal,
    VerdictInputs, Waiting,
};
pub use desired::{
    ADOPT_ANNOTATION, DesiredState, DesiredStateError, INSTANCE_LABEL, InstanceId, InstanceIdError, PART_OF_LABEL,
    PRUNE_ANNOTATION,
};
pub use desired_object::{Adoption, DesiredObject, Pruning};
pub use drift_report::Absence;
pub use field_class::{FieldClass, Severity, classify};
pub use guard::{PRUNE_ALWAYS_ALLOWED, PruneTrailer};
pub use history::{
    Cause, DriftChange, DriftFact, DriftId, DriftState, EntryView, FactError, Group, MAX_CLOSED, MAX_OPEN, Record,
    Records, Seen, UNDECLARED, facts, is_contested, is_told_by_body,
};
pub use lint::lint;
pub use live::{Claims, DriftSeen, Lifecycle, Live, LiveStates, Manager, Presence};
pub use order::Wave;
pub use orders::{Obedience, Order, OrderMode, judge_order};
pub use surplus::{MAX_SURPLUS, surplus};
pub use sync::{
    Advance, AdvanceMode, ApplySetId, DeletionPolicy, Drift, DriftIgnore, DriftMode, DriftRule, HealthCheck, SourceRef,
    SyncRef, SyncSpec, Window, WindowKind,
};
pub use window::{Closed, MAX_WINDOWS, WindowError, Windows};
