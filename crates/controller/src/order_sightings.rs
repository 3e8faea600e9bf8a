//! Orders of people as watches see them: taken up, or told why they are not.

use std::{mem, time::Instant};

use cluster::{Sighting, crd};
use jiff::Timestamp;

use crate::{
    break_glass_orders::BreakGlassState,
    code::ControllerCode,
    order_intake::Admission,
    order_room::slim,
    resources::{finding, key_of},
    rollback_orders::RollbackState,
    state::{Dirty, Key, State},
};

impl State {
    /// A watch saw a RollbackRequest.
    pub(crate) fn rollback_seen(&mut self, seen: &Sighting) {
        let key = key_of(&seen.reference);
        let resource = match crd::RollbackRequest::read(seen.raw.json()) {
            Ok(resource) => slim(resource),
            Err(error) => return tracing::error!(request = %key, error = %error, "a RollbackRequest cannot be read"),
        };
        if let Some(known) = self.rollbacks.get_mut(&key)
            && known.resource.metadata.uid == resource.metadata.uid
            && known.resource.spec == resource.spec
        {
            // Our own status, most likely.
            known.resource = resource;
            return;
        }
        // Another state of it gives way.
        self.forget_rollback(&key);
        let (since, bytes) = (self.intakes.rollbacks.since(Instant::now()), seen.raw.json().len());
        let mut order = RollbackState::new(resource, bytes, since);
        let sync = order.about(&key);
        let is_obeyed = self.is_obeyed_sync(&sync);
        let mut intake = mem::take(&mut self.intakes.rollbacks);
        let basis = |key: &Key, order: &RollbackState| self.basis_of_sync(&order.about(key));
        let admission = intake.admit(&self.rollbacks, &key, &order, is_obeyed, basis);
        self.intakes.rollbacks = intake;
        match admission {
            Admission::Kept(leaving) => {
                for key in leaving {
                    self.forget_rollback(&key);
                }
                self.rollbacks.insert(key.clone(), order);
                self.dirty.insert(Dirty::Rollback(key));
                return self.consider(&sync);
            }
            Admission::Judged => return,
            Admission::Aimless => {}
            Admission::Full(full) => order.has_no_room(&key, full),
        }
        if self.reporter.has_room() {
            self.tell_rollback_request(&key, &order, Timestamp::now());
        }
    }

    /// A watch saw a BreakGlass.
    pub(crate) fn break_glass_seen(&mut self, seen: &Sighting) {
        let key = key_of(&seen.reference);
        let resource = match crd::BreakGlass::read(seen.raw.json()) {
            Ok(resource) => slim(resource),
            Err(error) => return tracing::error!(request = %key, error = %error, "a BreakGlass cannot be read"),
        };
        if let Some(known) = self.break_glasses.get_mut(&key)
            && known.resource.metadata.uid == resource.metadata.uid
            && known.resource.spec == resource.spec
        {
            // Our own status, most likely.
            known.resource = resource;
            return;
        }
        // Another state of it gives way.
        self.forget_break_glass(&key);
        let (now, bytes) = (Timestamp::now(), seen.raw.json().len());
        let made = resource.metadata.creation_timestamp.as_ref().and_then(|made| made.0.to_string().parse().ok());
        let first_seen = made.map_or(now, |made: Timestamp| made.min(now));
        let since = self.intakes.break_glasses.since(Instant::now());
        let mut order = BreakGlassState::new(resource, first_seen, bytes, since);
        self.sift_order(&key, &mut order, now);
        let is_obeyed = self.is_obeyed_source(&order.about(&key));
        let mut intake = mem::take(&mut self.intakes.break_glasses);
        let basis = |key: &Key, order: &BreakGlassState| self.basis_of_source(&order.about(key));
        let admission = intake.admit(&self.break_glasses, &key, &order, is_obeyed, basis);
        self.intakes.break_glasses = intake;
        match admission {
            Admission::Kept(leaving) => {
                for key in leaving {
                    self.forget_break_glass(&key);
                }
                return self.take_break_glass(key, order, now);
            }
            Admission::Judged => return,
            Admission::Aimless => {}
            Admission::Full(full) => order.has_no_room(&key, full),
        }
        if self.reporter.has_room() {
            self.tell_break_glass(&key, &order, now);
        }
    }

    fn take_break_glass(&mut self, key: Key, order: BreakGlassState, now: Timestamp) {
        let source = order.about(&key);
        let may_count = match order.resource.spec.order(&key.namespace) {
            Ok(order) => Ok(order.expired(now).is_none()),
            Err(error) => Err(error.to_string()),
        };
        self.break_glasses.insert(key.clone(), order);
        match may_count {
            Ok(true) => {
                if let Some(source) = self.sources.get_mut(&source) {
                    source.hurry(Instant::now());
                }
            }
            Ok(false) => self.end_break_glass(&key, now),
            Err(error) => {
                let name = format!("BreakGlass {key}");
                let unread = finding(ControllerCode::A142, &name, &error, "a spec that can be read");
                self.break_glass_refused(&key, unread, now);
            }
        }
        self.dirty.insert(Dirty::BreakGlass(key));
    }
}
