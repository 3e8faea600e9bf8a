//! What people are told of orders to break the glass: refused, in force, over, or no longer of any use.

use jiff::Timestamp;
use manifest::Finding;
use plan::INSTANCE_LABEL;
use trust::{SigningFormats, TrustCode};

use crate::{
    announce::regarding,
    break_glass::Overrides,
    break_glass_orders::{Answer, BreakGlassState, ENDED, NOT_NEEDED, READY},
    code::ControllerCode,
    conditions::{Verdict, set},
    order_refusals::RefusedOrder,
    outbox::Status,
    resources::{finding, label},
    source_state::SourceState,
    state::{Dirty, Key, Resume, State},
};

/// What the condition of an order says whose GitSource is there.
fn ready(
    overrides: &Overrides,
    formats: impl FnOnce() -> SigningFormats,
    key: &Key,
    request: &BreakGlassState,
) -> Verdict {
    let commit = &request.resource.spec.commit;
    if let Some(order) = overrides.by(key, commit) {
        return Verdict::yes(READY, TrustCode::W701.entry().reason, order.finding(&formats()).to_string());
    }
    if overrides.is_over(key, commit) {
        let over = "all that it let through was made anew, or approved, by those who may";
        return Verdict::no(READY, "Over", over);
    }
    match &request.answer {
        Answer::Pending => Verdict::unknown(READY, "Pending", "it is not judged yet"),
        Answer::Good => {
            let text = "the commit is accepted without it, or refused for what no order waives";
            Verdict::no(READY, NOT_NEEDED, text)
        }
        Answer::Ended(end) => Verdict::no(READY, ENDED, format!("it was good until {end}, and nothing needed it")),
        Answer::Expired(end) => {
            Verdict::no(READY, "Expired", format!("its time was over {end}, and nothing came of it"))
        }
        Answer::Refused(finding) | Answer::Crowded(finding) => Verdict::refused(READY, finding),
    }
}

/// The kind of these orders.
const KIND: &str = "BreakGlass";

impl State {
    /// What orders let through in the repository of the GitSource that an order is about, if that is there.
    fn overrides_about(&self, key: &Key, request: &BreakGlassState) -> Option<&Overrides> {
        let source = Key { namespace: key.namespace.clone(), name: request.resource.spec.source.clone() };
        Some(&self.sources.get(&source)?.overrides)
    }

    /// Whether an order let its commit through.
    fn is_used(&self, key: &Key, request: &BreakGlassState) -> bool {
        let commit = &request.resource.spec.commit;
        let overrides = self.overrides_about(key, request);
        overrides.is_some_and(|overrides| overrides.by(key, commit).is_some() || overrides.is_over(key, commit))
    }

    /// The time of orders is over that let nothing through: no head needs to come for that to be told.
    pub(crate) fn end_break_glasses(&mut self, now: Timestamp) {
        let open = self.break_glasses.iter().filter(|(_, one)| !one.is_over());
        let open: Vec<Key> = open.map(|(key, _)| key.clone()).collect();
        for key in open {
            self.end_break_glass(&key, now);
        }
    }

    /// The same for one order.
    pub(crate) fn end_break_glass(&mut self, key: &Key, now: Timestamp) {
        let Some(request) = self.break_glasses.get(key) else { return };
        let source = Key { namespace: key.namespace.clone(), name: request.resource.spec.source.clone() };
        // What the log does not say yet may have been used.
        let is_known = self.sources.get(&source).is_some_and(|source| source.resume == Resume::Done);
        if !is_known || request.expired(key, now).is_none() || self.is_used(key, request) {
            return;
        }
        if self.break_glasses.get_mut(key).is_some_and(|request| request.end(key, now)) {
            self.dirty.insert(Dirty::BreakGlass(key.clone()));
        }
    }

    /// The object of an order is gone.
    pub(crate) fn forget_break_glass(&mut self, key: &Key) {
        self.break_glasses.remove(key);
        self.refusals.clear(&format!("{KIND} {key}"));
    }

    /// An order is not obeyed.
    pub(crate) fn break_glass_refused(&mut self, key: &Key, finding: Finding, now: Timestamp) {
        let Some(request) = self.break_glasses.get(key) else { return };
        if self.is_used(key, request) {
            // It did what it was for.
            return;
        }
        let (revision, uid) = (request.resource.spec.commit.clone(), request.resource.metadata.uid.clone());
        let (findings, regarding) =
            (std::slice::from_ref(&finding), regarding(KIND, Some(&key.namespace), &key.name, uid));
        let order = RefusedOrder { kind: KIND, action: "BreakGlass", key, regarding, revision: &revision, findings };
        self.order_refused(order, now);
        if let Some(request) = self.break_glasses.get_mut(key) {
            request.answer = Answer::Refused(Box::new(finding));
        }
    }

    /// Writes the status of a BreakGlass.
    pub(crate) fn write_break_glass(&self, key: &Key, now: Timestamp) {
        if let Some(request) = self.break_glasses.get(key) {
            self.tell_break_glass(key, request, now);
        }
    }

    /// Writes the status of one, kept or not.
    pub(crate) fn tell_break_glass(&self, key: &Key, request: &BreakGlassState, now: Timestamp) {
        let source = Key { namespace: key.namespace.clone(), name: request.resource.spec.source.clone() };
        let is_there = self.sources.contains_key(&source);
        if !is_there && !self.options.is_ours(label(&request.resource.metadata, INSTANCE_LABEL)) {
            // Another controller's, as its GitSource may be.
            return;
        }
        let ready = match self.overrides_about(key, request) {
            Some(overrides) => {
                let formats = || self.sources.get(&source).map(SourceState::formats).unwrap_or_default();
                ready(overrides, formats, key, request)
            }
            None => {
                let (name, missing) = (format!("{KIND} {key}"), format!("GitSource {source} is not there"));
                Verdict::refused(READY, &finding(ControllerCode::A141, &name, &missing, "an existing GitSource"))
            }
        };
        let generation = request.resource.metadata.generation;
        let mut status = request.resource.status.clone().unwrap_or_default();
        status.observed_generation = generation;
        set(&mut status.conditions, [ready], generation, now);
        let mut resource = request.resource.clone();
        // While it waits it has no need of them.
        resource.spec.signatures = Vec::new();
        self.reporter.status(Status::BreakGlass(resource, Box::new(status)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_ended_says_so() {
        let key = Key { namespace: "shop".to_owned(), name: "urgent".to_owned() };
        let resource = serde_json::json!({
            "apiVersion": "writ.dev/v1alpha1", "kind": "BreakGlass",
            "metadata": {"namespace": "shop", "name": "urgent"},
            "spec": {
                "source": "config", "repoId": "urn:shop", "commit": "a".repeat(40), "payloadSha256": "b".repeat(64),
                "reason": "down", "notAfter": "2026-01-01T01:00:00Z", "signatures": [],
            },
        });
        let end: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let mut request = BreakGlassState::new(
            Box::new(serde_json::from_value(resource).unwrap()),
            end,
            0,
            std::time::Instant::now(),
        );
        let mut told = |answer| {
            request.answer = answer;
            format!("{:?}", ready(&Overrides::default(), SigningFormats::default, &key, &request))
        };
        assert!(told(Answer::Good).contains("NotNeeded"));
        let expired = told(Answer::Expired(end));
        assert!(
            expired.contains("Expired") && expired.contains("over 2026-01-01T01:00:00Z, and nothing came of it"),
            "{expired}"
        );
        let ended = told(Answer::Ended(end));
        assert!(ended.contains("Ended") && ended.contains("it was good until 2026-01-01T01:00:00Z"), "{ended}");
    }
}
