//! Fixtures: what a line explains, and what it must not.

use std::collections::BTreeSet;

use manifest::GroupKind;
use serde_json::Value;

use super::{
    CATALOGUE_VERSION, DeclaredSet, Site, autoscaling, catalogue, certificates, cluster, explanation, pods, rollouts,
    services, shape, storage,
};

/// A difference: where, what is declared, what is live.
type Case = (Vec<&'static str>, Option<Value>, Value);

/// Sites of one object for one line.
#[derive(Debug)]
pub(super) struct Fixture {
    line: &'static str,
    declared: Value,
    set: Declarations,
    explained: Vec<Case>,
    misses: Vec<Case>,
}

#[derive(Debug, Default)]
struct Declarations(Vec<Value>);

impl DeclaredSet for Declarations {
    fn of_kind(&self, kind: &GroupKind, namespace: Option<&str>) -> Vec<&Value> {
        let is_there =
            |object: &&Value| kind_of(object) == *kind && text(object, &["metadata", "namespace"]) == namespace;
        self.0.iter().filter(is_there).collect()
    }
}

fn text<'a>(object: &'a Value, names: &[&str]) -> Option<&'a str> {
    shape::at(object, names)?.as_str()
}

fn kind_of(object: &Value) -> GroupKind {
    GroupKind::new(shape::group_of(text(object, &["apiVersion"]).unwrap()), text(object, &["kind"]).unwrap())
}

/// A fixture of a line with a declared object.
pub(super) fn of(line: &'static str, declared: Value) -> Fixture {
    Fixture { line, declared, set: Declarations::default(), explained: Vec::new(), misses: Vec::new() }
}

impl Fixture {
    /// Declares another object beside it.
    pub(super) fn beside(mut self, object: Value) -> Self {
        self.set.0.push(object);
        self
    }

    /// The line explains an addition.
    pub(super) fn explains(mut self, names: &[&'static str], live: impl Into<Value>) -> Self {
        self.explained.push((names.to_vec(), None, live.into()));
        self
    }

    /// The line explains an edit.
    pub(super) fn explains_edit(
        mut self,
        names: &[&'static str],
        desired: impl Into<Value>,
        live: impl Into<Value>,
    ) -> Self {
        self.explained.push((names.to_vec(), Some(desired.into()), live.into()));
        self
    }

    /// Nothing explains an addition.
    pub(super) fn misses(mut self, names: &[&'static str], live: impl Into<Value>) -> Self {
        self.misses.push((names.to_vec(), None, live.into()));
        self
    }

    /// Nothing explains an edit.
    pub(super) fn misses_edit(
        mut self,
        names: &[&'static str],
        desired: impl Into<Value>,
        live: impl Into<Value>,
    ) -> Self {
        self.misses.push((names.to_vec(), Some(desired.into()), live.into()));
        self
    }

    fn explanation(
        &self,
        kind: &GroupKind,
        names: &[&str],
        desired: Option<&Value>,
        live: Option<&Value>,
    ) -> Option<&'static str> {
        let site = Site { kind, names, desired, live, declared: &self.declared, set: &self.set };
        explanation(&site).map(|line| line.name)
    }
}

/// Asks every case; and of each that is explained, that neither its removal nor the same elsewhere is.
#[track_caller]
pub(super) fn check(fixtures: &[Fixture]) {
    for fixture in fixtures {
        let (kind, widget) = (kind_of(&fixture.declared), GroupKind::new("example.org", "Widget"));
        for (names, desired, live) in &fixture.explained {
            let told = format!("{} of {kind}: {desired:?} -> {live}", names.join("/"));
            let explanation = |kind, names: &[&str], live| fixture.explanation(kind, names, desired.as_ref(), live);
            assert_eq!(explanation(&kind, names, Some(live)), Some(fixture.line), "{told}");
            assert_eq!(explanation(&kind, names, None), None, "removed: {told}");
            assert_eq!(explanation(&widget, names, Some(live)), None, "kind: {told}");
            let other: Vec<_> = ["other"].iter().chain(names).copied().collect();
            assert_eq!(explanation(&kind, &other, Some(live)), None, "elsewhere: {told}");
        }
        for (names, desired, live) in &fixture.misses {
            let told = format!("{} of {kind}: {desired:?} -> {live} ({})", names.join("/"), fixture.line);
            assert_eq!(fixture.explanation(&kind, names, desired.as_ref(), Some(live)), None, "{told}");
        }
    }
}

#[test]
fn every_line_has_a_fixture_that_it_explains_and_two_that_it_does_not() {
    let fixtures: Vec<_> = [
        autoscaling::tests::fixtures(),
        certificates::tests::fixtures(),
        cluster::tests::fixtures(),
        pods::tests::fixtures(),
        rollouts::tests::fixtures(),
        services::tests::fixtures(),
        storage::tests::fixtures(),
    ]
    .into_iter()
    .flatten()
    .collect();
    for line in catalogue() {
        let mine = || fixtures.iter().filter(|fixture| fixture.line == line.name);
        assert!(mine().map(|fixture| fixture.explained.len()).sum::<usize>() >= 1, "{}", line.name);
        assert!(mine().map(|fixture| fixture.misses.len()).sum::<usize>() >= 2, "{}", line.name);
    }
    for fixture in &fixtures {
        assert!(catalogue().any(|line| line.name == fixture.line), "no line {}", fixture.line);
    }
}

#[test]
fn every_line_has_a_name_of_its_own_a_version_and_a_reason() {
    let names: BTreeSet<_> = catalogue().map(|line| line.name).collect();
    assert_eq!(names.len(), catalogue().count());
    for line in catalogue() {
        assert!(line.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", line.name);
        assert!(!line.name.starts_with('-') && !line.name.ends_with('-'), "{}", line.name);
        assert!((1..=CATALOGUE_VERSION).contains(&line.since), "{}", line.name);
        assert!(line.reason.len() > 20 && !line.reason.contains("  "), "{}", line.name);
    }
}
