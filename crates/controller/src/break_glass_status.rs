//! What people are told of orders to break the glass: refused, in force, over, or no longer of any use.

use std::collections::BTreeSet;

use jiff::Timestamp;
use manifest::Finding;
use plan::INSTANCE_LABEL;
use trust::TrustCode;

use crate::{
    break_glass::Overrides,
    break_glass_orders::{Answer, BreakGlassState, take_ended},
    code::ControllerCode,
    conditions::{Verdict, set},
    outbox::Status,
    refusals::Refused,
    report::regarding,
    resources::{finding, label},
    state::{Dirty, Key, Resume, State},
};

/// What the condition of an order says whose GitSource is there.
fn ready(overrides: &Overrides, key: &Key, request: &BreakGlassState) -> Verdict {
    let commit = &request.resource.spec.commit;
    if let Some(order) = overrides.by(key, commit) {
        return Verdict::yes("Ready", TrustCode::W701.entry().reason, order.finding().to_string());
    }
    if overrides.is_over(key, commit) {
        let over = "all that it let through was made anew, or approved, by those who may";
        return Verdict::no("Ready", "Over", over);
    }
    match &request.answer {
        Answer::Pending => Verdict::unknown("Ready", "Pending", "it is not judged yet"),
        Answer::Good => {
            let text = "the commit is accepted without it, or refused for what no order waives";
            Verdict::no("Ready", "NotNeeded", text)
        }
        Answer::Ended(end) => Verdict::no("Ready", "Ended", format!("it was good until {end}, and nothing needed it")),
        Answer::Refused(finding) | Answer::Crowded(finding) => Verdict::refused("Ready", finding),
    }
}

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
        // What the log does not say yet may have been used.
        let is_known = |request: &BreakGlassState, key: &Key| {
            let source = Key { namespace: key.namespace.clone(), name: request.resource.spec.source.clone() };
            self.sources.get(&source).is_some_and(|source| source.resume == Resume::Done)
        };
        let unused = self.break_glasses.iter().filter(|(key, one)| is_known(one, key) && !self.is_used(key, one));
        let unused: BTreeSet<Key> = unused.map(|(key, _)| key.clone()).collect();
        for (key, finding) in take_ended(&mut self.break_glasses, |key| !unused.contains(key), now) {
            if let Some(finding) = finding {
                self.break_glass_refused(&key, finding, now);
            }
            self.dirty.insert(Dirty::BreakGlass(key));
        }
    }

    /// An order is not obeyed.
    pub(crate) fn break_glass_refused(&mut self, key: &Key, finding: Finding, now: Timestamp) {
        let Some(request) = self.break_glasses.get(key) else { return };
        if self.is_used(key, request) {
            // It did what it was for.
            return;
        }
        // It has times in its words, and is judged again with every head.
        let told = matches!(&request.answer, Answer::Refused(before) if before.code == finding.code);
        let (revision, uid) = (request.resource.spec.commit.clone(), request.resource.metadata.uid.clone());
        let owner = format!("BreakGlass {key}");
        let findings = std::slice::from_ref(&finding);
        if !told && self.refusals.is_new(&owner, &Refused { revision: &revision, findings, inputs: None }) {
            tracing::warn!(request = %key, commit = revision, code = finding.code.code, reason = finding.code.reason, "refused: {finding}");
            self.metrics.decided("refuse", finding.code.reason);
            let regarding = regarding("BreakGlass", Some(&key.namespace), &key.name, uid);
            self.announce(&regarding, findings, "BreakGlass", None);
            self.log_refusal(owner, &revision, findings, None, now);
        }
        if let Some(request) = self.break_glasses.get_mut(key) {
            request.answer = Answer::Refused(Box::new(finding));
        }
    }

    /// Writes the status of a BreakGlass.
    pub(crate) fn write_break_glass(&self, key: &Key, now: Timestamp) {
        let Some(request) = self.break_glasses.get(key) else { return };
        let source = Key { namespace: key.namespace.clone(), name: request.resource.spec.source.clone() };
        let is_there = self.sources.contains_key(&source);
        if !is_there && !self.options.is_ours(label(&request.resource.metadata, INSTANCE_LABEL)) {
            // Another controller's, as its GitSource may be.
            return;
        }
        let ready = match self.overrides_about(key, request) {
            Some(overrides) => ready(overrides, key, request),
            None => {
                let (name, missing) = (format!("BreakGlass {key}"), format!("GitSource {source} is not there"));
                Verdict::refused("Ready", &finding(ControllerCode::A141, &name, &missing, "an existing GitSource"))
            }
        };
        let generation = request.resource.metadata.generation;
        let mut status = request.resource.status.clone().unwrap_or_default();
        status.observed_generation = generation;
        set(&mut status.conditions, [ready], generation, now);
        self.reporter.status(Status::BreakGlass(request.resource.clone(), Box::new(status)));
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
        let mut request = BreakGlassState::new(Box::new(serde_json::from_value(resource).unwrap()), end);
        let mut told = |answer| {
            request.answer = answer;
            format!("{:?}", ready(&Overrides::default(), &key, &request))
        };
        assert!(told(Answer::Good).contains("NotNeeded"));
        let ended = told(Answer::Ended(end));
        assert!(ended.contains("Ended") && ended.contains("it was good until 2026-01-01T01:00:00Z"), "{ended}");
    }
}
