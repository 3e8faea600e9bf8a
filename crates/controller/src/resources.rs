//! Custom resources: what is seen of them, and whether they are obeyed.

use std::{sync::Arc, time::Instant};

use cluster::{Sighting, WatchEvent, crd, crd::CustomSpec};
use manifest::{Digest, Finding, GroupKind, ObjectRef, Subject};
use plan::{INSTANCE_LABEL, Obedience, Order, OrderMode, SyncRef, judge_order};
use trust::{BootstrapKind, TrustOrders, TrustRootSpec};

use crate::{
    code::ControllerCode,
    requests::Asked,
    source_state::SourceState,
    state::{Dirty, Key, State, SyncState},
    windows::windows_of,
};

/// The annotation by which people ask for a reconcile at once.
pub(crate) const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";

/// The kinds whose objects must all be known before anything is done. Without signed orders all else goes on.
#[must_use]
pub(crate) fn own_kinds() -> [GroupKind; 3] {
    [crd::TrustRoot::resource_kind(), crd::GitSource::resource_kind(), crd::Sync::resource_kind()]
}

/// What an event of a custom resource says about orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Orders {
    /// Nothing: as when it is our own status that comes back.
    Same,
    /// Somebody may have ordered something else.
    MayDiffer,
}

/// Group and kind of a custom resource.
trait ResourceKind {
    fn resource_kind() -> GroupKind;
}

impl<S> ResourceKind for crd::Custom<S>
where
    S: CustomSpec + std::fmt::Debug + Clone + PartialEq,
    S::Status: std::fmt::Debug,
{
    fn resource_kind() -> GroupKind {
        GroupKind::new(crd::GROUP, S::KIND)
    }
}

impl State {
    /// A watch of one of our own kinds saw something.
    pub(crate) fn custom_resource(&mut self, kind: &GroupKind, event: WatchEvent) {
        let orders = match (kind.kind.as_str(), event) {
            ("TrustRoot", WatchEvent::Applied(seen)) => self.root_seen(&seen),
            ("TrustRoot", WatchEvent::Deleted { reference, .. }) => {
                self.root_gone(&reference.name);
                Orders::MayDiffer
            }
            ("GitSource", WatchEvent::Applied(seen)) => self.source_seen(&seen),
            ("GitSource", WatchEvent::Deleted { reference, .. }) => {
                self.sources.remove(&key_of(&reference));
                Orders::MayDiffer
            }
            ("Sync", WatchEvent::Applied(seen)) => self.sync_seen(&seen),
            ("Sync", WatchEvent::Deleted { reference, .. }) => {
                self.sync_deleted(&sync_of(&reference));
                Orders::MayDiffer
            }
            ("RollbackRequest", WatchEvent::Applied(seen)) => {
                self.rollback_seen(&seen);
                Orders::Same
            }
            ("BreakGlass", WatchEvent::Applied(seen)) => {
                self.break_glass_seen(&seen);
                Orders::Same
            }
            ("BreakGlass", WatchEvent::Deleted { reference, .. }) => {
                self.forget_break_glass(&key_of(&reference));
                Orders::Same
            }
            ("RollbackRequest", WatchEvent::Deleted { reference, .. }) => {
                // What was obeyed stays in force.
                self.forget_rollback(&key_of(&reference));
                Orders::Same
            }
            _ => Orders::Same,
        };
        if orders == Orders::MayDiffer {
            self.judge_orders();
        }
    }

    fn source_seen(&mut self, seen: &Sighting) -> Orders {
        let key = key_of(&seen.reference);
        let resource = match crd::GitSource::read(seen.raw.json()) {
            Ok(resource) => resource,
            Err(error) => {
                tracing::error!(source = %key, error = %error, "a GitSource cannot be read");
                return Orders::Same;
            }
        };
        if !self.options.is_ours(label(&resource.metadata, INSTANCE_LABEL)) {
            return Orders::Same;
        }
        match self.sources.get_mut(&key) {
            Some(source) => {
                if only_status_differs(&source.resource.metadata, &resource.metadata) {
                    *source.resource = resource;
                    return Orders::Same;
                }
                if source.requests.see(resource.annotation(REQUESTED_AT)) == Asked::Yes {
                    source.due = Instant::now();
                    self.kinds.ask();
                }
                *source.resource = resource;
            }
            None => {
                self.sources.insert(key.clone(), SourceState::new(resource));
            }
        }
        self.dirty.insert(Dirty::Source(key));
        Orders::MayDiffer
    }

    fn sync_seen(&mut self, seen: &Sighting) -> Orders {
        let sync = sync_of(&seen.reference);
        let resource = match crd::Sync::read(seen.raw.json()) {
            Ok(resource) => resource,
            Err(error) => {
                tracing::error!(sync = %sync, error = %error, "a Sync cannot be read");
                return Orders::Same;
            }
        };
        if !self.options.is_ours(label(&resource.metadata, INSTANCE_LABEL)) {
            return Orders::Same;
        }
        match self.syncs.get_mut(&sync).filter(|state| !state.gone) {
            Some(state) => {
                if only_status_differs(&state.resource.metadata, &resource.metadata) {
                    *state.resource = resource;
                    return Orders::Same;
                }
                if state.requests.see(resource.annotation(REQUESTED_AT)) == Asked::Yes {
                    // Judge again; if nothing changed, nothing is sent.
                    state.settled = None;
                    self.kinds.ask();
                }
                if state.resource.metadata.uid != resource.metadata.uid {
                    // Another one of its name, which came while nobody watched.
                    state.inventory = cluster::ParentInventory::of(&resource);
                }
                state.inventory_due = true;
                *state.resource = resource;
            }
            None => {
                self.syncs.insert(sync.clone(), SyncState::new(resource));
            }
        }
        self.dirty.insert(Dirty::Sync(sync));
        Orders::MayDiffer
    }

    /// What a full list of one of our own kinds did not mention was deleted while nobody watched.
    pub(crate) fn forget_unmentioned(&mut self, kind: &GroupKind, mentioned: &std::collections::HashSet<ObjectRef>) {
        let named: std::collections::HashSet<(Option<&str>, &str)> =
            mentioned.iter().map(|object| (object.namespace.as_deref(), object.name.as_str())).collect();
        match kind.kind.as_str() {
            "TrustRoot" => self.keep_roots(|name| named.contains(&(None, name))),
            "GitSource" => {
                self.sources.retain(|key, _| named.contains(&(Some(key.namespace.as_str()), key.name.as_str())));
            }
            "BreakGlass" => {
                let there = |key: &Key| named.contains(&(Some(key.namespace.as_str()), key.name.as_str()));
                let gone: Vec<Key> = self.break_glasses.keys().filter(|key| !there(key)).cloned().collect();
                for key in gone {
                    self.forget_break_glass(&key);
                }
            }
            "RollbackRequest" => {
                let there = |key: &Key| named.contains(&(Some(key.namespace.as_str()), key.name.as_str()));
                let gone: Vec<Key> = self.rollbacks.keys().filter(|key| !there(key)).cloned().collect();
                for key in gone {
                    self.forget_rollback(&key);
                }
            }
            _ => {
                let there = |sync: &SyncRef| named.contains(&(Some(sync.namespace.as_str()), sync.name.as_str()));
                let gone: Vec<SyncRef> = self.syncs.keys().filter(|sync| !there(sync)).cloned().collect();
                for sync in gone {
                    self.sync_deleted(&sync);
                }
            }
        }
    }

    /// Judges every GitSource and Sync anew: what an accepted commit declares may have changed.
    pub(crate) fn judge_orders(&mut self) {
        if !self.knows_orders() {
            // What is not there yet may still be in a list that is under way.
            return;
        }
        let sources: Vec<Key> = self.sources.keys().cloned().collect();
        for key in sources {
            self.judge_source(&key);
        }
        let there = self.syncs.iter().filter(|(_, state)| !state.gone);
        let syncs: Vec<SyncRef> = there.map(|(sync, _)| sync.clone()).collect();
        for sync in syncs {
            self.judge_sync(&sync);
        }
        self.follow_modes(jiff::Timestamp::now());
        self.resume_syncs();
    }

    fn judge_source(&mut self, key: &Key) {
        let Some(source) = self.sources.get(key) else { return };
        let spec = source.resource.spec.clone();
        // A change of the TrustRoot is itself an order: whoever is obeyed now judges it.
        let root =
            source.obeyed.as_ref().map_or(&spec.trust_root_ref.name, |obeyed| &obeyed.trust_root_ref.name).clone();
        let manager = last_writer(&source.resource.metadata);
        let name = format!("GitSource {key}");
        let verdict = match (spec.unsupported().first(), spec.digest()) {
            (Some(field), _) => Err(unsupported(&name, field)),
            (None, Err(error)) => {
                Err(finding(ControllerCode::A142, &name, &error.to_string(), "a spec that can be read"))
            }
            (None, Ok(digest)) => {
                let order = Order {
                    kind: "GitSource",
                    namespace: &key.namespace,
                    name: &key.name,
                    digest,
                    written_by: manager.as_deref(),
                };
                self.judge(&order, BootstrapKind::GitSource, &root)
            }
        };
        let Some(source) = self.sources.get_mut(key) else { return };
        let before = (source.obeyed.clone(), source.order.clone());
        match verdict {
            Ok(()) => {
                if source.obeyed.as_deref() != Some(&spec) {
                    source.obeyed = Some(Arc::new(spec));
                    source.remote = None;
                    source.due = Instant::now();
                }
                source.order = None;
            }
            Err(finding) => source.order = Some(finding),
        }
        let (changed, held) = (before != (source.obeyed.clone(), source.order.clone()), source.order.clone());
        if !changed {
            return;
        }
        self.dirty.insert(Dirty::Source(key.clone()));
        if let Some(finding) = held {
            tracing::warn!(source = %key, code = finding.code.code, reason = finding.code.reason, "not obeyed: {finding}");
            self.announce_source(key, std::slice::from_ref(&finding));
        }
    }

    fn judge_sync(&mut self, sync: &SyncRef) {
        let Some(state) = self.syncs.get(sync) else { return };
        let spec = state.resource.spec.clone();
        let manager = last_writer(&state.resource.metadata);
        let name = format!("Sync {sync}");
        let root = self.trust_root_name(sync, &spec);
        let verdict = match (spec.unsupported().first(), spec.digest(), root) {
            (Some(field), ..) => Err(unsupported(&name, field)),
            (None, Err(error), _) => {
                Err(finding(ControllerCode::A142, &name, &error.to_string(), "a spec that can be read"))
            }
            (None, _, Err(problem)) => Err(*problem),
            (None, Ok(digest), Ok(root)) => {
                let order = Order {
                    kind: "Sync",
                    namespace: &sync.namespace,
                    name: &sync.name,
                    digest,
                    written_by: manager.as_deref(),
                };
                self.judge(&order, BootstrapKind::Sync, &root)
            }
        };
        let Some(state) = self.syncs.get_mut(sync) else { return };
        let before = (state.obeyed.clone(), state.order.clone());
        match verdict {
            Ok(()) => {
                // Ordered all the same, so that nothing advances by the windows of before.
                state.order = windows_of(sync, &spec).err();
                if state.obeyed.as_deref() != Some(&spec) {
                    state.obeyed = Some(Arc::new(spec));
                    state.settled = None;
                }
            }
            Err(finding) => state.order = Some(finding),
        }
        let (changed, held) = (before != (state.obeyed.clone(), state.order.clone()), state.order.clone());
        if !changed {
            return;
        }
        self.dirty.insert(Dirty::Sync(sync.clone()));
        if let Some(finding) = held {
            tracing::warn!(sync = %sync, code = finding.code.code, reason = finding.code.reason, "not obeyed: {finding}");
            self.announce_sync(sync, std::slice::from_ref(&finding));
        }
    }

    /// The TrustRoot that a Sync's orders are judged by: that of its GitSource, which must be in the
    /// Sync's own namespace.
    fn trust_root_name(&self, sync: &SyncRef, spec: &plan::SyncSpec) -> Result<String, Box<Finding>> {
        let namespace = spec.source_ref.namespace.as_ref().unwrap_or(&sync.namespace);
        let name = format!("Sync {sync}");
        if namespace != &sync.namespace {
            let found =
                format!("spec.sourceRef.namespace is {namespace}; sources of other namespaces are not supported yet");
            let finding = finding(ControllerCode::A142, &name, &found, "a GitSource of the Sync's own namespace");
            return Err(Box::new(Finding { fix: "remove spec.sourceRef.namespace".into(), ..finding }));
        }
        let key = Key { namespace: namespace.clone(), name: spec.source_ref.name.clone() };
        let (state, needed, look) = match self.sources.get(&key).map(|source| &source.obeyed) {
            Some(Some(obeyed)) => return Ok(obeyed.trust_root_ref.name.clone()),
            Some(None) => ("not obeyed", "a GitSource that is obeyed", format!("describe gitsource {}", key.name)),
            None => ("not there", "an existing GitSource", "get gitsources".to_owned()),
        };
        let finding = finding(ControllerCode::A141, &name, &format!("GitSource {key} is {state}"), needed);
        Err(Box::new(Finding {
            fix: format!("kubectl -n {namespace} {look} # then mend it, or spec.sourceRef").into(),
            ..finding
        }))
    }

    fn judge(&self, order: &Order<'_>, kind: BootstrapKind, root: &str) -> Result<(), Finding> {
        let name = format!("{} {}/{}", order.kind, order.namespace, order.name);
        let Some(spec) = self.roots.get(root).and_then(|root| root.spec.as_ref()) else {
            let found = format!("TrustRoot {root} is not there or cannot be used");
            let finding = finding(ControllerCode::A141, &name, &found, "an existing TrustRoot");
            return Err(Finding {
                fix: format!("kubectl describe trustroot {root} # then apply or mend it").into(),
                ..finding
            });
        };
        let mode = match spec.orders {
            TrustOrders::Signed => OrderMode::Signed,
            TrustOrders::Cluster => OrderMode::Cluster,
        };
        let declared = self.declared_order(order, root);
        let bootstrap = bootstrap(spec, kind, order);
        match judge_order(order, declared, bootstrap, mode) {
            Obedience::Obeyed => Ok(()),
            Obedience::Held(finding) => Err(*finding),
        }
    }

    /// The digest of the spec that an accepted commit declares for this object.
    fn declared_order(&self, order: &Order<'_>, root: &str) -> Option<Digest> {
        let reference = ObjectRef {
            cluster: self.cluster.id().clone(),
            group_kind: GroupKind::new(crd::GROUP, order.kind),
            namespace: Some(order.namespace.to_owned()),
            name: order.name.to_owned(),
        };
        // Only repositories of the same TrustRoot give orders here.
        let gives_orders = |sync: &SyncRef| {
            let source = self.source_of(sync).and_then(|(_, source)| source.obeyed.as_ref());
            source.is_some_and(|obeyed| obeyed.trust_root_ref.name == root)
        };
        let mut syncs = self.syncs.iter().filter(|(sync, _)| gives_orders(sync));
        let declared = syncs.find_map(|(_, sync)| sync.accepted.as_ref()?.get(&reference))?;
        let value: serde_json::Value = serde_json::from_slice(&declared.body).ok()?;
        let spec = value.get("spec")?.clone();
        match order.kind {
            "Sync" => serde_json::from_value::<plan::SyncSpec>(spec).ok()?.digest().ok(),
            _ => serde_json::from_value::<crd::GitSourceSpec>(spec).ok()?.digest().ok(),
        }
    }
}

fn bootstrap(spec: &TrustRootSpec, kind: BootstrapKind, order: &Order<'_>) -> Option<Digest> {
    let entry = spec
        .bootstrap
        .iter()
        .find(|entry| entry.kind == kind && entry.namespace == order.namespace && entry.name == order.name)?;
    Some(entry.spec_sha256)
}

/// A Sync of which nothing is left in the cluster but what it applied.
#[must_use]
pub(crate) fn gone_sync(sync: &SyncRef) -> Option<SyncState> {
    let resource = serde_json::json!({
        "apiVersion": format!("{}/{}", crd::GROUP, crd::VERSION), "kind": "Sync",
        "metadata": {"name": sync.name, "namespace": sync.namespace},
        "spec": {"sourceRef": {"name": ""}, "drift": {"mode": "Off"}},
    });
    let resource = serde_json::from_value(resource).ok()?;
    Some(SyncState { gone: true, ..SyncState::new(resource) })
}

/// Key of a GitSource.
#[must_use]
pub(crate) fn key_of(reference: &ObjectRef) -> Key {
    Key { namespace: reference.namespace.clone().unwrap_or_default(), name: reference.name.clone() }
}

/// Key of a Sync.
#[must_use]
pub(crate) fn sync_of(reference: &ObjectRef) -> SyncRef {
    SyncRef { namespace: reference.namespace.clone().unwrap_or_default(), name: reference.name.clone() }
}

/// Whether two states of an object can differ in nothing but status and bookkeeping.
fn only_status_differs(before: &cluster::ObjectMeta, after: &cluster::ObjectMeta) -> bool {
    before.uid == after.uid
        && before.generation == after.generation
        && before.generation.is_some()
        && before.labels == after.labels
        && before.annotations == after.annotations
        && before.deletion_timestamp == after.deletion_timestamp
}

pub(crate) fn label<'a>(metadata: &'a cluster::ObjectMeta, name: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(name).map(String::as_str)
}

/// The field manager that wrote the spec last, as it claims; writ's own writes aside.
fn last_writer(metadata: &cluster::ObjectMeta) -> Option<String> {
    let ours = [Some(cluster::FIELD_MANAGER), Some(cluster::PARENT_MANAGER)];
    let managers = metadata.managed_fields.as_ref()?.iter().filter(|entry| entry.subresource.is_none());
    managers
        .filter(|entry| !ours.contains(&entry.manager.as_deref()))
        .filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| fields.0.get("f:spec").is_some()))
        .max_by_key(|entry| entry.time.clone())?
        .manager
        .clone()
}

fn unsupported(owner: &str, field: &str) -> Finding {
    let mut finding =
        finding(ControllerCode::A142, owner, &format!("{field} is not supported yet"), "a spec without it");
    finding.fix = format!("remove {field}").into();
    finding
}

/// A finding about a custom resource.
pub(crate) fn finding(code: ControllerCode, owner: &str, found: &str, needed: &str) -> Finding {
    Finding {
        code: code.entry(),
        subject: Subject::Named(owner.to_owned()),
        rule: None,
        found: found.into(),
        needed: needed.into(),
        fix: "mend the spec, or create what it names".into(),
    }
}
#[cfg(test)]
#[path = "resources_tests.rs"]
mod tests;
