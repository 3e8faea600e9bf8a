//! The rules: the table of crates, who alone may use what, and what a deciding crate may not even reach.

use std::fmt;

use super::graph::{Graph, Key, Kind, Member};

/// What a crate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Values in, values out: no input or output, no clock, no environment, no runtime.
    Decide,
    /// Owns one outside system.
    Touch,
    /// Joins the others.
    Compose,
    /// Never part of the product.
    Development,
}

/// What a crate may depend on inside this workspace.
#[derive(Debug, Clone, Copy)]
enum Allowed {
    /// These.
    Only(&'static [&'static str]),
    /// All that is part of the product.
    Product,
}

/// Every crate that this workspace may hold: its role, and what it may depend on inside the workspace.
const CRATES: &[(&str, Role, Allowed)] = &[
    ("manifest", Role::Decide, Allowed::Only(&[])),
    ("trust", Role::Decide, Allowed::Only(&["manifest"])),
    ("policy", Role::Decide, Allowed::Only(&["manifest"])),
    ("artifact", Role::Decide, Allowed::Only(&["manifest", "policy"])),
    ("plan", Role::Decide, Allowed::Only(&["manifest", "trust", "policy", "artifact"])),
    ("audit", Role::Touch, Allowed::Only(&[])),
    ("git", Role::Touch, Allowed::Only(&["manifest", "trust"])),
    ("render", Role::Touch, Allowed::Only(&["manifest"])),
    ("evidence", Role::Touch, Allowed::Only(&["trust", "artifact"])),
    ("cluster", Role::Touch, Allowed::Only(&["manifest", "trust", "plan", "audit"])),
    (
        "controller",
        Role::Compose,
        Allowed::Only(&[
            "manifest", "trust", "policy", "artifact", "plan", "audit", "git", "render", "evidence", "cluster",
        ]),
    ),
    ("web", Role::Compose, Allowed::Only(&["controller", "audit"])),
    ("writ", Role::Compose, Allowed::Product),
    ("testkit", Role::Development, Allowed::Product),
    ("xtask", Role::Development, Allowed::Only(&["testkit"])),
];

/// The package, and the one crate that may declare it, for whatever purpose.
const SOLE_USERS: &[(&str, &str)] = &[
    ("kube", "cluster"),
    ("kube-client", "cluster"),
    ("kube-core", "cluster"),
    ("kube-derive", "cluster"),
    ("kube-runtime", "cluster"),
    ("k8s-openapi", "cluster"),
    ("git2", "git"),
    ("libgit2-sys", "git"),
    ("serde_yaml", "manifest"),
    ("libyaml-safer", "manifest"),
    ("saphyr-parser", "manifest"),
    ("cel", "policy"),
    ("cms", "evidence"),
    ("sigstore", "evidence"),
    ("sigstore-trust-root", "evidence"),
    ("sigstore-tuf", "evidence"),
    ("sigstore-verify", "evidence"),
    ("oci-client", "evidence"),
];

/// What no deciding crate may link, however far away: runtimes, clients, servers, system calls, logging.
const NEVER_DECIDING: &[&str] = &[
    "async-std",
    "axum",
    "git2",
    "hyper",
    "k8s-openapi",
    "kube",
    "kube-client",
    "kube-core",
    "libgit2-sys",
    "mio",
    "reqwest",
    "rustix",
    "rustls",
    "sigstore-verify",
    "smol",
    "socket2",
    "tempfile",
    "tokio",
    "tower",
    "tracing",
    "tracing-subscriber",
    "ureq",
];

/// A rule that the graph breaks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Violation {
    /// A member that the table does not name.
    UnknownCrate(String),
    /// An edge between two crates of this workspace.
    Internal { from: String, to: String },
    /// A crate that is for development only, linked by another.
    DevelopmentOnly { from: String, to: String },
    /// A package that belongs to another crate.
    NotTheUser { from: String, package: String, user: &'static str },
    /// A deciding crate links what it must not reach.
    Reaches { chain: Vec<Key> },
    /// A member with lints of its own.
    OwnLints(String),
    /// A deciding crate whose `clippy.toml` is missing, lacks a line of the workspace's, or bans other things than the others.
    ClippyFile { member: String, problem: &'static str },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownCrate(name) => {
                write!(f, "{name}: not in the table of crates (crates/xtask/src/layers/rules.rs)")
            }
            Self::Internal { from, to } => write!(f, "{from} → {to}: {from} may not depend on {to}"),
            Self::DevelopmentOnly { from, to } => {
                write!(f, "{from} → {to}: {to} is for development only, never a normal dependency")
            }
            Self::NotTheUser { from, package, user } => {
                write!(f, "{from} → {package}: only {user} may use {package}")
            }
            Self::Reaches { chain } => {
                let (first, last) = (chain.first().map_or("", |key| &key.0), chain.last().map_or("", |key| &key.0));
                let path = chain.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>();
                write!(f, "{first} → {last}: a deciding crate may not reach {last} ({})", path.join(" → "))
            }
            Self::OwnLints(name) => write!(f, "{name}: its Cargo.toml does not say `[lints] workspace = true`"),
            Self::ClippyFile { member, problem } => write!(f, "{member}: crates/{member}/clippy.toml {problem}"),
        }
    }
}

/// Every rule that the graph breaks, in order.
pub(super) fn check(graph: &Graph) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (name, member) in &graph.members {
        let Some(&(_, role, allowed)) = CRATES.iter().find(|(known, ..)| known == name) else {
            violations.push(Violation::UnknownCrate(name.clone()));
            continue;
        };
        if !member.inherits_lints {
            violations.push(Violation::OwnLints(name.clone()));
        }
        for (package, kind) in &member.declared {
            violations.extend(declared(graph, name, role, allowed, package, *kind));
        }
        if role == Role::Decide {
            let reached = NEVER_DECIDING.iter().filter_map(|&target| graph.chain_to(member, target));
            violations.extend(reached.map(|chain| Violation::Reaches { chain }));
            violations.extend(clippy_file(graph, name, member));
        }
    }
    violations.sort();
    violations.dedup();
    violations
}

fn declared(graph: &Graph, from: &str, role: Role, allowed: Allowed, package: &str, kind: Kind) -> Option<Violation> {
    if let Some((_, user)) = SOLE_USERS.iter().find(|(owned, _)| *owned == package)
        && *user != from
    {
        return Some(Violation::NotTheUser { from: from.to_owned(), package: package.to_owned(), user });
    }
    if !graph.members.contains_key(package) {
        return None;
    }
    let edge = (from.to_owned(), package.to_owned());
    let to_development = CRATES.iter().any(|(name, role, _)| *name == package && *role == Role::Development);
    let permitted = match allowed {
        Allowed::Only(names) => names.contains(&package),
        Allowed::Product => !to_development,
    };
    let test_fixture = package == "testkit" && kind == Kind::Development;
    if permitted || test_fixture {
        return None;
    }
    if to_development && role != Role::Development {
        return Some(Violation::DevelopmentOnly { from: edge.0, to: edge.1 });
    }
    Some(Violation::Internal { from: edge.0, to: edge.1 })
}

/// A nearer `clippy.toml` replaces the workspace's, so it has to repeat it, and all deciding crates ban the same things.
fn clippy_file(graph: &Graph, name: &str, member: &Member) -> Option<Violation> {
    let problem = |problem| Some(Violation::ClippyFile { member: name.to_owned(), problem });
    let Some(text) = &member.clippy else {
        return problem("is missing: it bans clocks, environment, files, network and processes");
    };
    let setting = |line: &&str| !line.is_empty() && !line.starts_with('#');
    if graph.clippy.lines().filter(setting).any(|line| !text.lines().any(|own| own == line)) {
        return problem("does not repeat every line of the workspace's clippy.toml, which it replaces");
    }
    let first = graph
        .members
        .iter()
        .find(|(other, _)| CRATES.iter().any(|(known, role, _)| known == other && *role == Role::Decide));
    if first.is_some_and(|(_, first)| first.clippy.as_ref() != Some(text)) {
        return problem("differs from that of the other deciding crates");
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::*;
    use crate::workspace::Workspace;

    /// The graph of this workspace, read once.
    fn graph() -> Graph {
        static GRAPH: OnceLock<Graph> = OnceLock::new();
        GRAPH.get_or_init(|| Graph::read(&Workspace::find().unwrap()).unwrap()).clone()
    }

    /// Breaks the real graph and returns what is found in addition.
    fn check_altered(alter: impl FnOnce(&mut Graph)) -> Vec<String> {
        let mut graph = graph();
        let before = check(&graph);
        alter(&mut graph);
        check(&graph).into_iter().filter(|found| !before.contains(found)).map(|found| found.to_string()).collect()
    }

    /// Makes one member declare and link a package of the locked graph.
    fn add(graph: &mut Graph, from: &str, to: &str, kind: Kind) {
        let key = graph.packages.keys().find(|(name, _)| name == to).unwrap().clone();
        let member = graph.members.get_mut(from).unwrap();
        member.declared.insert((to.to_owned(), kind));
        if kind == Kind::Normal {
            let from = member.key.clone();
            graph.packages.get_mut(&from).unwrap().insert(key);
        }
    }

    #[test]
    fn this_workspace_keeps_its_layers() {
        let found = check(&graph()).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn kube_in_policy_is_named() {
        let found = check_altered(|graph| add(graph, "policy", "kube", Kind::Normal));
        assert!(found.contains(&"policy → kube: only cluster may use kube".to_owned()), "{found:#?}");
        assert!(
            found.iter().any(
                |line| line.starts_with("policy → kube: a deciding crate may not reach kube (policy 0.1.0 → kube ")
            )
        );
        assert!(
            found.iter().any(|line| line.starts_with("plan → tokio: ")),
            "what policy links, plan links: {found:#?}"
        );
    }

    #[test]
    fn tokio_in_plan_is_named() {
        let found = check_altered(|graph| add(graph, "plan", "tokio", Kind::Normal));
        assert!(found.iter().any(|line| line.starts_with("plan → tokio: a deciding crate may not reach tokio (plan 0.1.0 → tokio ")));
        assert!(!found.iter().any(|line| line.starts_with("policy")), "{found:#?}");
    }

    #[test]
    fn cluster_in_git_is_named() {
        let found = check_altered(|graph| add(graph, "git", "cluster", Kind::Normal));
        assert_eq!(found, ["git → cluster: git may not depend on cluster"]);
    }

    #[test]
    fn testkit_in_writ_is_named_unless_it_is_for_tests() {
        let found = check_altered(|graph| add(graph, "writ", "testkit", Kind::Normal));
        assert_eq!(found, ["writ → testkit: testkit is for development only, never a normal dependency"]);
        assert_eq!(check_altered(|graph| add(graph, "writ", "testkit", Kind::Build)).len(), 1);
        assert_eq!(check_altered(|graph| add(graph, "git", "testkit", Kind::Development)), Vec::<String>::new());
        assert_eq!(check_altered(|graph| add(graph, "git", "xtask", Kind::Development)).len(), 1);
    }

    #[test]
    fn a_package_of_another_crate_is_refused_for_tests_too() {
        let found = check_altered(|graph| add(graph, "trust", "git2", Kind::Development));
        assert_eq!(found, ["trust → git2: only git may use git2"]);
    }

    #[test]
    fn xtask_may_know_testkit_only() {
        let found = check_altered(|graph| add(graph, "xtask", "manifest", Kind::Normal));
        assert_eq!(found, ["xtask → manifest: xtask may not depend on manifest"]);
    }

    #[test]
    fn every_member_is_in_the_table_with_the_lints_of_the_workspace() {
        let found = check_altered(|graph| {
            let stranger = graph.members.get("manifest").unwrap().clone();
            graph.members.insert("utils".to_owned(), stranger);
            graph.members.get_mut("audit").unwrap().inherits_lints = false;
        });
        let expected = [
            "utils: not in the table of crates (crates/xtask/src/layers/rules.rs)",
            "audit: its Cargo.toml does not say `[lints] workspace = true`",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_deciding_crate_without_its_bans_is_named() {
        let found = check_altered(|graph| graph.members.get_mut("plan").unwrap().clippy = None);
        assert_eq!(
            found,
            ["plan: crates/plan/clippy.toml is missing: it bans clocks, environment, files, network and processes"]
        );
        let found = check_altered(|graph| {
            let text = graph.members.get_mut("trust").unwrap().clippy.as_mut().unwrap();
            *text = text.replace("std::env::var\"", "std::env::other\"");
        });
        assert_eq!(found, ["trust: crates/trust/clippy.toml differs from that of the other deciding crates"]);
    }
}
