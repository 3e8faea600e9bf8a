//! The waves of a plan, one after the other.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use manifest::ObjectRef;
use plan::{ApplySetId, ApprovedPlan, Change, PlanOrigin, Wave};
use tokio::{sync::mpsc, time::Instant};

use super::{
    ApplyReport, Done, Failure, Outcome,
    change::Context,
    definitions::{self, Resources},
    foreign, lanes,
};
use crate::{Cluster, Identity, ParentInventory, Resource, explain};

pub(super) async fn run<T: From<Outcome> + Send>(
    cluster: &Cluster,
    plan: &ApprovedPlan,
    inventory: &mut ParentInventory,
    (deadline, halt): (Instant, Option<&AtomicBool>),
    outcomes: &mpsc::Sender<T>,
) -> ApplyReport {
    let sync = plan.sync();
    let context = Context {
        cluster,
        identity: plan
            .service_account()
            .map_or(Identity::Own, |account| Identity::service_account(&sync.namespace, account)),
        lane: if plan.origin() == PlanOrigin::Drift { lanes::Lane::Revert } else { lanes::Lane::Rollout },
        part_of: ApplySetId::of(sync),
        deadline,
        timeout_fix: format!("raise spec.timeout of Sync {sync}"),
    };
    let resources = Resources::of(cluster, plan.changes());
    let mut rollout = Rollout { plan, outcomes, report: ApplyReport::default() };

    let mut refused = resources.unknown.clone();
    let (kinds, namespaces) = foreign::places(plan.changes());
    let listed = match plan.origin() {
        // The Sync is gone, and its inventory with it.
        PlanOrigin::Removal => Ok(()),
        _ if is_set(halt) => Ok(()),
        PlanOrigin::Advance | PlanOrigin::Rollback | PlanOrigin::Drift => {
            inventory.extend(cluster, sync, &kinds, &namespaces).await
        }
    };
    match listed {
        Ok(()) => refused.extend(foreign::find(&context, plan.changes(), &resources.known).await),
        Err(failure) => {
            // Without its inventory nothing may be written that nobody could find again.
            for change in plan.changes() {
                refused.entry(change.reference.clone()).or_insert_with(|| (*failure).clone());
            }
        }
    }
    for wave in waves(plan.changes()) {
        let is_delete = wave.first().is_some_and(|change| change.wave.is_delete());
        if is_delete && !rollout.report.failures.is_empty() && plan.origin() != PlanOrigin::Removal {
            for change in wave {
                rollout.note(change, Ok(Done::Withheld), 0).await;
            }
            continue;
        }
        // A set rather than a stream of closures: the compiler can then see that the whole is `Send`.
        let mut waiting = wave.iter();
        let mut made = FuturesUnordered::new();
        loop {
            while made.len() < lanes::MAX
                && let Some(change) = waiting.next()
            {
                made.push(attempt(&context, halt, (&resources, &refused), change));
            }
            let Some((change, result, writes)) = made.next().await else { break };
            rollout.note(change, result, writes).await;
        }
    }
    rollout.finish(cluster).await
}

/// Whether nothing more may be sent.
fn is_set(halt: Option<&AtomicBool>) -> bool {
    halt.is_some_and(|halt| halt.load(Ordering::Acquire))
}

/// One change, if nothing speaks against it.
async fn attempt<'a>(
    context: &Context<'_>,
    halt: Option<&AtomicBool>,
    (resources, refused): (&Resources, &BTreeMap<ObjectRef, Failure>),
    change: &'a Change,
) -> (&'a Change, Result<Done, Failure>, u64) {
    if is_set(halt) {
        return (change, Ok(Done::Withheld), 0);
    }
    if let Some(failure) = refused.get(&change.reference) {
        return (change, Err(failure.clone()), 0);
    }
    let Some(resource) = resources.known.get(&change.reference) else {
        return (change, Err(explain::no_resource(&change.reference)), 0);
    };
    let novelty = resources.novelty(&change.reference.group_kind);
    let (mut result, writes) = context.make(change, resource, novelty).await;
    if change.wave == Wave::Definitions {
        result = settle(context.cluster, resource, result).await;
    }
    (change, result, writes)
}

/// A definition counts as applied once it is served.
async fn settle(cluster: &Cluster, resource: &Resource, result: Result<Done, Failure>) -> Result<Done, Failure> {
    let done = result?;
    if let Done::Created { sighting, .. } | Done::Configured { sighting } = &done {
        definitions::ready(cluster, resource, sighting).await?;
    }
    Ok(done)
}

/// The changes of each wave. The plan is ordered by wave.
fn waves(changes: &[Change]) -> impl Iterator<Item = &[Change]> {
    changes.chunk_by(|a, b| a.wave == b.wave)
}

struct Rollout<'a, T> {
    plan: &'a ApprovedPlan,
    outcomes: &'a mpsc::Sender<T>,
    report: ApplyReport,
}

impl<T: From<Outcome> + Send> Rollout<'_, T> {
    async fn note(&mut self, change: &Change, result: Result<Done, Failure>, writes: u64) {
        self.report.writes += writes;
        match &result {
            Ok(Done::Created { .. }) => self.report.created += 1,
            Ok(Done::Configured { .. }) => self.report.configured += 1,
            Ok(Done::Pruned) => self.report.pruned += 1,
            Ok(Done::Withheld) => self.report.withheld += 1,
            Ok(Done::Gone) => {}
            Err(failure) => self.report.failures.push((change.reference.clone(), failure.clone())),
        }
        if result.is_ok() && change.reference.group_kind.group == "apiextensions.k8s.io" {
            self.report.kinds_changed = true;
        }
        let outcome = Outcome {
            sync: self.plan.sync().clone(),
            plan: self.plan.digest(),
            reference: change.reference.clone(),
            body: change.body.as_ref().and(change.digest),
            result,
        };
        if self.outcomes.send(T::from(outcome)).await.is_err() {
            tracing::debug!(object = %change.reference, "nobody waits for this outcome any more");
        }
    }

    async fn finish(mut self, cluster: &Cluster) -> ApplyReport {
        if self.report.kinds_changed
            && let Err(error) = cluster.refresh_discovery().await
        {
            tracing::warn!(%error, "the kinds that the cluster serves could not be read again");
        }
        self.report.failures.sort_by(|a, b| a.0.cmp(&b.0));
        self.report
    }
}
