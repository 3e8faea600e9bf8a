//! The controller: one event loop over a closed enum, which owns all state.
//!
//! | question | where |
//! |---|---|
//! | what happens when | `run`, `event` |
//! | whose orders are obeyed, and which requests are answered | `resources`, `requests` |
//! | which trust is in force, and from where its newest keys come | `roots`, `keyless_refresh` |
//! | when a repository is asked, and what its head is worth | `sources`, `source_gate`, `source_run`, `source_remote`, `source_turns` |
//! | who works in which mirror, and when one goes | `mirrors` |
//! | how a verified revision becomes applied objects | `sync_gate`, `rollout`, `apply` |
//! | how drift is noticed and put back | `watches`, `proof`, `live`, `drift`, `drift_telling`, `absence` |
//! | who may take a Sync back to an earlier revision, and for how long | `rollbacks`, `rollback_gate`, `rollback_orders`, `order_turns`, `order_room`, `pace` |
//! | what lets a commit through that those who made it may not make | `break_glass`, `break_glass_orders`, `break_glass_status` |
//! | what happens when a Sync is gone, and what commits say about pruning | `removal`, `prune_trailer` |
//! | what survives a restart | `restart`, `resume`, `logged_refusal`, `expected`, `remember` |
//! | what survives the loss of a mirror | `archives` |
//! | which kinds the cluster serves | `kinds` |
//! | what a Sync says about its objects | `inventory` |
//! | what is written down | `journal`, `refusals` |
//! | what people are told | `status`, `conditions`, `source_events`, `drift_events`, `revert_failures`, `report`, `outbox`, `metrics`, `http` |
//! | what is known of drift, and where it is kept | `drift_history`, `drift_snapshot`, `drift_status`, `drift_metrics` |
//! | whether a server may be hiding something | `freshness` |
//! | who changed an object, and who made a request | `attribution`, `attribution_later`, `admission`, `audit_source`, `stamp` |
//! | what is only told, in mode Audit | `audit_mode` |
//! | when what is good may advance | `windows` |
//! | what forges say in between | `webhook` |
//! | what is looked at now and then | `upkeep` |
//! | what goes on while the loop waits | `beside` |
//!
//! Tasks: one watch per kind (in `cluster`), one blocking task per running gate, one task per plan
//! that is applied, one for each trust root that is fetched, one reporter; a thread of its own for probes, metrics and the Lease, one for webhooks, and one for what the API server asks. All of them send `Event`s over one bounded
//! channel; none of them holds state.

mod absence;
mod admission;
mod announce;
mod apply;
#[cfg(test)]
mod approval_tests;
#[cfg(test)]
mod archive_tests;
mod archives;
mod attribution;
mod attribution_later;
mod audit_mode;
mod audit_source;
mod beside;
mod break_glass;
mod break_glass_orders;
mod break_glass_status;
mod claims;
mod code;
mod conditions;
mod dirty;
mod drift;
mod drift_events;
mod drift_history;
mod drift_metrics;
mod drift_snapshot;
mod drift_status;
mod drift_telling;
mod entry_budget;
mod event;
mod expected;
mod fault;
mod fights;
mod floor;
mod freshness;
mod heal_later;
mod holds;
mod holds_read;
mod http;
mod inventory;
mod journal;
mod kept;
mod key;
mod keyless_metrics;
mod keyless_refresh;
mod kinds;
mod live;
mod logged_modes;
mod logged_refusal;
#[cfg(test)]
mod lost_roots_tests;
mod metrics;
#[cfg(test)]
mod mirror_tests;
mod mirrors;
mod options;
mod order_basis;
mod order_intake;
mod order_refusals;
mod order_room;
mod order_sightings;
#[cfg(test)]
mod order_tests;
mod order_turns;
mod outbox;
mod pace;
#[cfg(test)]
mod partial_advance_tests;
mod proof;
mod prune_trailer;
mod refusals;
mod refuse;
mod released;
mod remember;
mod removal;
mod render_cache;
#[cfg(test)]
mod rendered_before_tests;
mod report;
mod requests;
mod resources;
mod restart;
#[cfg(test)]
mod restart_tests;
mod resume;
mod revert_counts;
mod revert_failures;
mod rollback_gate;
mod rollback_orders;
mod rollbacks;
mod rollout;
mod roots;
mod run;
mod schedule;
mod source_events;
mod source_gate;
mod source_metrics;
mod source_remote;
mod source_run;
mod source_state;
#[cfg(test)]
mod source_tests;
mod source_turns;
mod sources;
mod stamp;
mod state;
mod status;
mod sync_gate;
#[cfg(test)]
mod sync_tests;
mod tasks;
mod trust_expiry;
mod upkeep;
mod visit;
mod watch_metrics;
mod watches;
mod webhook;
mod windows;

pub use admission::AdmissionError;
pub use audit_source::AuditLogError;
pub use code::ControllerCode;
pub use drift_snapshot::DriftHistoryError;
pub use fault::{FAULT_POINT_VARIABLE, FaultPoint};
pub use metrics::{MetricEntry, metrics_reference};
pub use options::{DEFAULT_INSTANCE, Options};
pub use run::{ControllerError, run};
pub use webhook::WebhooksError;
