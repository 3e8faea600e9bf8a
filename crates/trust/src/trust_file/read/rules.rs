//! The rules of a trust file.

use std::collections::BTreeSet;

use manifest::Node;

use super::super::{RoleThreshold, Rule, reader::Reader};
use crate::{
    glob::PathPattern,
    kinds::{KindPattern, KindPatterns},
    namespaces::{NamespacePattern, NamespacePatterns},
};

pub(super) fn read(reader: &mut Reader, node: &Node) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for item in reader.list(node, "rules") {
        let Some(rule) = read_rule(reader, item) else { continue };
        if rules.iter().any(|other| other.name == rule.name) {
            reader.wrong(item.position, format!("a second rule {:?}", rule.name), "rules with different names");
        }
        if let Some(replaced) = &rule.replaces {
            check_override(reader, item, &rule, rules.iter().find(|other| other.name == *replaced));
        }
        rules.push(rule);
    }
    rules
}

/// What `override` replaces must be there before it, so that no two replace each other, and cover all that it covers.
/// Nothing replaces a rule for `.writ/`: who may change the trust file is said in one place.
fn check_override(reader: &mut Reader, node: &Node, rule: &Rule, replaced: Option<&Rule>) {
    let at = node.get("override").map_or(node.position, |value| value.position);
    let name = &rule.name;
    let Some(replaced) = replaced else {
        return reader.wrong(at, format!("override of rule {name} names no rule before it"), "a rule further up");
    };
    let wider = rule.paths.iter().find(|path| !replaced.paths.iter().any(|other| path.is_within(other)));
    if let Some(wider) = wider {
        let found = format!("rule {name} overrides {}, which does not cover all of {wider}", replaced.name);
        reader.wrong(at, found, "paths that are narrower than those of the rule it overrides");
    }
    if let Some(path) = rule.paths.iter().find(|path| path.touches(".writ")) {
        let found = format!("rule {name} overrides {} for {path}, which reaches below .writ/", replaced.name);
        reader.wrong(at, found, "no override there: change the rule for .writ/** itself");
    }
}

fn read_rule(reader: &mut Reader, node: &Node) -> Option<Rule> {
    reader.fields(node, "a rule", &["name", "paths", "anyOf", "kinds", "namespaces", "override"], &[])?;
    let name = reader.required(node, "a rule", "name").and_then(|name| reader.name(name, "name"));
    let what = name.as_ref().map_or_else(|| "a rule".to_owned(), |name| format!("rule {name}"));
    let paths = match reader.required(node, &what, "paths") {
        Some(list) => {
            items(reader, list, &format!("paths of {what}"), "a pattern such as \"apps/**\"", PathPattern::parse)
        }
        None => Vec::new(),
    };
    let mut any_of = Vec::new();
    if let Some(list) = reader.required(node, &what, "anyOf") {
        for item in reader.list(list, &format!("anyOf of {what}")) {
            any_of.extend(read_threshold(reader, item, &what));
        }
    }
    let kinds = match node.get("kinds") {
        Some(list) => {
            items(reader, list, &format!("kinds of {what}"), "an item such as \"apps/Deployment\"", KindPattern::parse)
        }
        None => Vec::new(),
    };
    let namespaces = match node.get("namespaces") {
        Some(list) => {
            items(reader, list, &format!("namespaces of {what}"), "an item such as \"team-*\"", NamespacePattern::parse)
        }
        None => Vec::new(),
    };
    let replaces = match node.get("override") {
        Some(value) => Some(reader.name(value, "override")?),
        None => None,
    };
    Some(Rule {
        name: name?,
        paths,
        any_of,
        kinds: KindPatterns::new(kinds),
        namespaces: NamespacePatterns::new(namespaces),
        replaces,
        place: node.position,
    })
}

/// The items of a list of patterns, each refused where it stands.
fn items<T, E: std::fmt::Display>(
    reader: &mut Reader,
    list: &Node,
    what: &str,
    needed: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Vec<T> {
    let mut read = Vec::new();
    for item in reader.list(list, what) {
        let Some(text) = reader.text(item, "an item") else { continue };
        match parse(text) {
            Ok(pattern) => read.push(pattern),
            Err(error) => reader.wrong(item.position, error.to_string(), needed),
        }
    }
    read
}

fn read_threshold(reader: &mut Reader, node: &Node, what: &str) -> Option<RoleThreshold> {
    let what = format!("anyOf of {what}");
    reader.fields(node, &what, &["role", "threshold", "distinctFromAuthor"], &[])?;
    let role = reader.required(node, &what, "role").and_then(|role| reader.name(role, "role"));
    let threshold = reader
        .required(node, &what, "threshold")
        .and_then(|value| reader.number(value, "threshold", u64::from(u32::MAX)))
        .and_then(|value| u32::try_from(value).ok());
    let distinct = match node.get("distinctFromAuthor") {
        Some(value) => reader.flag(value, "distinctFromAuthor")?,
        None => false,
    };
    Some(RoleThreshold { role: role?, threshold: threshold?, distinct_from_author: distinct, place: node.position })
}

/// Roles: who holds them.
pub(super) fn read_roles(
    reader: &mut Reader,
    node: &Node,
    known: &BTreeSet<&str>,
    is_authority: &dyn Fn(&str) -> bool,
) -> std::collections::BTreeMap<String, BTreeSet<String>> {
    let mut roles = std::collections::BTreeMap::new();
    for (name, node) in reader.named(node, "roles") {
        let mut members = BTreeSet::new();
        for item in reader.list(node, &format!("role {}", name.name)) {
            let Some(member) = reader.name(item, "principal") else { continue };
            if is_authority(&member) {
                let found = format!("role {} names {member}, an authority, which never signs itself", name.name);
                reader.wrong(item.position, found, "a principal that it certifies");
            } else if !known.contains(member.as_str()) {
                let found = format!("role {} names {member}, who is no principal", name.name);
                reader.wrong(item.position, found, "a principal");
            }
            if !members.insert(member) {
                reader.wrong(item.position, format!("role {} names a principal twice", name.name), "each once");
            }
        }
        roles.insert(name.name.clone(), members);
    }
    roles
}
