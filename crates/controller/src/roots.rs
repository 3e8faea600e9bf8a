//! TrustRoots: what is seen of them, and which trust is in force by them.

use std::{sync::Arc, time::Instant};

use cluster::{Sighting, crd};
use evidence::KeylessSignatures;
use plan::INSTANCE_LABEL;
use trust::TrustRootSpec;

use crate::{
    code::ControllerCode,
    keyless_refresh::Refresh,
    resources::{Orders, REQUESTED_AT, finding, label},
    state::{Dirty, RootState, State},
};

impl State {
    /// A TrustRoot is there.
    pub(crate) fn root_seen(&mut self, seen: &Sighting) -> Orders {
        let name = seen.reference.name.clone();
        let read = crd::TrustRoot::read(seen.raw.json());
        let resource = match read {
            Ok(resource) => resource,
            Err(error) => {
                tracing::error!(root = name, error = %error, "a TrustRoot cannot be read");
                return Orders::Same;
            }
        };
        if !self.options.is_ours(label(&resource.metadata, INSTANCE_LABEL)) {
            return Orders::Same;
        }
        let now = Instant::now();
        if let Some(root) = self.roots.get_mut(&name)
            && root.resource.spec == resource.spec
        {
            // Our own status, most likely.
            let is_asked = root.resource.annotation(REQUESTED_AT) != resource.annotation(REQUESTED_AT);
            if let Some(refresh) = root.refresh.as_mut().filter(|_| is_asked) {
                refresh.ask(now);
            }
            *root.resource = resource;
            return Orders::Same;
        }
        let (spec, refresh, problem) = match self.root_in_force(&name, &resource.spec, now) {
            Ok((spec, refresh)) => (Some(Arc::new(spec)), refresh, None),
            Err(mistake) => {
                let owner = format!("TrustRoot {name}");
                (None, None, Some(finding(ControllerCode::A142, &owner, &mistake, "a TrustRoot that can be used")))
            }
        };
        match &refresh {
            Some(refresh) => self.metrics.keyless.in_force(&name, refresh.at),
            None => self.metrics.keyless.forget(&name),
        }
        let unusable = refresh.as_ref().and_then(|refresh| refresh.problem.clone());
        let signatures = self.roots.get(&name).map(|root| Arc::clone(&root.signatures)).unwrap_or_default();
        let state = RootState { resource: Box::new(resource), spec, problem, refresh, signatures };
        self.roots.insert(name.clone(), state);
        if let Some(finding) = unusable {
            tracing::error!(root = name, code = finding.code.code, reason = finding.code.reason, "{finding}");
            self.announce_root(&name, &finding);
        }
        self.trust_changed();
        self.dirty.insert(Dirty::Root(name));
        Orders::MayDiffer
    }

    /// The spec as it is in force, or what is wrong with it.
    fn root_in_force(
        &mut self,
        name: &str,
        spec: &TrustRootSpec,
        now: Instant,
    ) -> Result<(TrustRootSpec, Option<Refresh>), String> {
        if let Some(mistake) = spec.check().first() {
            return Err(mistake.to_string());
        }
        KeylessSignatures::of(spec.keyless.as_ref()).map_err(|error| format!("spec.keyless.trustedRoot: {error}"))?;
        let unwritten = self.refreshes.unwritten(name);
        Refresh::begin(name, spec, &self.tuf_file(name), &unwritten, now)
    }

    /// A TrustRoot is gone: nothing advances by it; healing goes on.
    pub(crate) fn root_gone(&mut self, name: &str) {
        self.roots.remove(name);
        self.metrics.keyless.forget(name);
    }

    /// Those that are not among these are gone.
    pub(crate) fn keep_roots(&mut self, is_there: impl Fn(&str) -> bool) {
        let gone: Vec<String> = self.roots.keys().filter(|name| !is_there(name)).cloned().collect();
        for name in gone {
            self.root_gone(&name);
        }
    }
}
