//! `writ diff`: what is live and not as declared.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Args;
use manifest::{
    BuiltinScopes, ClusterId, Declared, Finding, GroupKind, MAX_FILE_BYTES, MAX_SET_OBJECTS, RenderOptions, Rendered,
    RenderedSet, RepoPath, Scope, ScopeLookup, declared, expand, parse_yaml, render_plain,
};
use plan::{
    ChangeKind, Compared, Comparison, DeclaredSet, FieldChange, INSTANCE_LABEL, PART_OF_LABEL, Severity, Visibility,
    catalogue, compare,
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    exit::Outcome,
    input,
    output::{self, Format, Paint, paint, printable},
};

/// Schema of the output.
const SCHEMA: &str = "writ.dev/diff/v1alpha1";
/// Namespace of objects that name none, where the live objects do not say it.
const DEFAULT_NAMESPACE: &str = "default";

/// Arguments of `writ diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// What is declared: a file of manifests.
    #[arg(long, value_name = "FILE")]
    desired: PathBuf,
    /// What is live: a file as `kubectl get -o yaml` or `-o json` prints it.
    #[arg(long, value_name = "FILE")]
    live: PathBuf,
    /// Namespace of the manifests that name none; default: that of the live objects, if all are in one.
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// Format of the output.
    #[arg(short, long, value_enum, default_value_t = Format::Human)]
    output: Format,
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    schema: &'static str,
    changes: Vec<Row<'a>>,
    /// How many more there are of objects with very many.
    #[serde(skip_serializing_if = "is_zero")]
    more: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    object: String,
    /// A JSON pointer into the live object, or into the declared one of what was removed.
    path: &'a str,
    /// The same with list items by their merge keys.
    field: String,
    desired: &'a Option<Value>,
    live: &'a Option<Value>,
    class: &'static str,
    severity: Severity,
    kind: ChangeKind,
    explained_by: Option<&'static str>,
}

/// An object of the declared set with what differs.
struct Compares<'a> {
    object: &'a Rendered,
    found: Comparison,
}

/// Runs `writ diff`.
pub(crate) fn run(args: &DiffArgs) -> anyhow::Result<Outcome> {
    let live = Live::read(&args.live)?;
    let set = desired(args, &live)?;
    let beside = Beside(&set);
    let compares = |object| {
        let found = compare_one(object, live.of(object)?, &beside)?;
        Ok(Compares { object, found })
    };
    let compared = set.iter().map(compares).collect::<anyhow::Result<Vec<_>>>()?;
    match args.output {
        Format::Human => output::text(&human(&compared))?,
        format => {
            let more = compared.iter().map(|one| one.found.more).sum();
            let changes = compared.iter().flat_map(rows).collect();
            output::document(format, &Document { schema: SCHEMA, changes, more })?;
        }
    }
    let drifted = compared.iter().any(|one| one.found.is_drift());
    Ok(if drifted { Outcome::Finding } else { Outcome::Fine })
}

fn compare_one(object: &Rendered, live: Option<&Value>, set: &Beside<'_>) -> anyhow::Result<Comparison> {
    let (reference, mut declared) = (&object.object.reference, object.object.value.clone());
    if let Some(live) = live {
        let version = live.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        let wanted = object.object.api_version.as_str();
        if version != wanted {
            bail!("{reference} is declared as {wanted} and live as {}: get it in that version", printable(version));
        }
        with_labels_of_ownership(&mut declared, live);
    }
    let visibility = if object.sensitive { Visibility::Masked } else { Visibility::Shown };
    let under = Compared { kind: &reference.group_kind, visibility, set };
    Ok(compare(&declared, live, &under))
}

/// The labels that the controller puts on every object: files have none, and whose they are only the controller knows.
fn with_labels_of_ownership(declared: &mut Value, live: &Value) {
    for name in [INSTANCE_LABEL, PART_OF_LABEL] {
        let label =
            live.get("metadata").and_then(|metadata| metadata.get("labels")).and_then(|labels| labels.get(name));
        let metadata = declared.get_mut("metadata").and_then(Value::as_object_mut);
        if let (Some(label), Some(metadata)) = (label, metadata) {
            let labels = metadata.entry("labels").or_insert_with(|| Value::Object(Map::new()));
            if let Some(labels) = labels.as_object_mut() {
                labels.entry(name).or_insert_with(|| label.clone());
            }
        }
    }
}

/// The objects of a file, complete as the controller would apply them.
fn desired(args: &DiffArgs, live: &Live) -> anyhow::Result<RenderedSet> {
    let file = &args.desired;
    let (name, bytes) = read(file)?;
    let refused = |findings: Vec<Finding>| {
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{} is not what could be applied: {}", file.display(), lines.join("; "))
    };
    let there = declared(&name, &bytes).map_err(|finding| refused(vec![finding]))?;
    let scopes = Scopes::of(there.iter().map(|one| (&one.group_kind, one.namespace.is_some())).chain(live.scopes()));
    let default = args.namespace.as_deref().or_else(|| live.namespace()).unwrap_or(DEFAULT_NAMESPACE);
    let options = RenderOptions {
        cluster: ClusterId::new(""),
        default_namespace: default,
        target_namespace: None,
        scopes: &scopes,
        sensitive_kinds: &[],
    };
    let set = render_plain([(&name, bytes.as_slice())], &options).map_err(refused)?;
    if set.is_empty() {
        bail!("{} declares no object", file.display());
    }
    Ok(set)
}

/// A file and its name as manifests have names.
fn read(file: &Path) -> anyhow::Result<(RepoPath, Vec<u8>)> {
    let bytes = input::bytes(file, MAX_FILE_BYTES)?;
    // What stands in a file of another name is read as YAML as well, and JSON is YAML.
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or("manifests");
    let is_manifest = [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end));
    let name = if is_manifest { name.to_owned() } else { format!("{name}.yaml") };
    let name = name.parse::<RepoPath>().with_context(|| format!("{} has no usable name", file.display()))?;
    Ok((name, bytes))
}

/// The scope of each kind that is not built in: whether an object of it has a namespace.
struct Scopes(BTreeMap<GroupKind, Scope>);

impl Scopes {
    fn of<'a>(seen: impl Iterator<Item = (&'a GroupKind, bool)>) -> Self {
        let mut scopes = BTreeMap::new();
        for (kind, namespaced) in seen {
            let scope = scopes.entry(kind.clone()).or_insert(Scope::Cluster);
            if namespaced {
                *scope = Scope::Namespaced;
            }
        }
        Self(scopes)
    }
}

impl ScopeLookup for Scopes {
    fn scope(&self, kind: &GroupKind) -> Option<Scope> {
        BuiltinScopes.scope(kind).or_else(|| self.0.get(kind).copied())
    }
}

/// What is declared, as the catalogue of known mutators asks for it.
#[derive(Debug)]
struct Beside<'a>(&'a RenderedSet);

impl DeclaredSet for Beside<'_> {
    fn of_kind(&self, kind: &GroupKind, namespace: Option<&str>) -> Vec<&Value> {
        let objects = self.0.iter().map(|rendered| &rendered.object);
        let wanted = objects.filter(|object| {
            object.reference.group_kind == *kind && object.reference.namespace.as_deref() == namespace
        });
        wanted.map(|object| &object.value).collect()
    }
}

/// Where a live object is looked for: kind, namespace, name.
type Place = (GroupKind, Option<String>, String);

/// The objects that are live.
struct Live {
    file: PathBuf,
    objects: BTreeMap<Place, Value>,
}

impl Live {
    fn read(file: &Path) -> anyhow::Result<Self> {
        let (name, bytes) = read(file)?;
        let refused = |finding: Finding| anyhow::anyhow!("{}: {finding}", file.display());
        let identities = declared(&name, &bytes).map_err(refused)?;
        let documents = parse_yaml(&name, &bytes).map_err(refused)?;
        let nodes = documents.iter().flat_map(|document| expand(&document.root));
        let nodes: Vec<_> =
            nodes.filter(|node| node.get("apiVersion").is_some() && node.get("kind").is_some()).collect();
        // Both read the same file in the same way.
        anyhow::ensure!(nodes.len() == identities.len(), "{} cannot be read as objects", file.display());
        anyhow::ensure!(nodes.len() <= MAX_SET_OBJECTS, "{} holds more than {MAX_SET_OBJECTS} objects", file.display());
        let mut objects = BTreeMap::new();
        for (Declared { group_kind, namespace, name, .. }, node) in identities.into_iter().zip(nodes) {
            let shown = format!("{group_kind} {name}");
            if objects.insert((group_kind, namespace, name), node.to_json()).is_some() {
                bail!("{} holds {} twice", file.display(), printable(&shown));
            }
        }
        Ok(Self { file: file.to_owned(), objects })
    }

    fn scopes(&self) -> impl Iterator<Item = (&GroupKind, bool)> {
        self.objects.keys().map(|(kind, namespace, _)| (kind, namespace.is_some()))
    }

    /// The one namespace that all its objects are in that are in one.
    fn namespace(&self) -> Option<&str> {
        let all: BTreeSet<_> = self.objects.keys().filter_map(|(_, namespace, _)| namespace.as_deref()).collect();
        match all.len() {
            1 => all.into_iter().next(),
            _ => None,
        }
    }

    /// The live object that a declaration is about.
    fn of(&self, declared: &Rendered) -> anyhow::Result<Option<&Value>> {
        let reference = &declared.object.reference;
        let place = (reference.group_kind.clone(), reference.namespace.clone(), reference.name.clone());
        if let Some(live) = self.objects.get(&place) {
            return Ok(Some(live));
        }
        // An object that somebody wrote down without its namespace.
        let (kind, namespace, name) = place;
        if self.objects.contains_key(&(kind, None, name)) && namespace.is_some() {
            bail!("{}: {reference} is there without its namespace", self.file.display());
        }
        Ok(None)
    }
}

fn rows<'a>(compares: &'a Compares<'_>) -> impl Iterator<Item = Row<'a>> {
    let object = compares.object.object.reference.to_string();
    compares.found.changes.iter().map(move |change| Row {
        object: object.clone(),
        path: &change.pointer,
        field: change.field.to_string(),
        desired: &change.desired,
        live: &change.live,
        class: change.class.name(),
        severity: change.class.severity(),
        kind: change.kind,
        explained_by: change.explained_by,
    })
}

fn human(compared: &[Compares<'_>]) -> String {
    let mut text = String::new();
    let (mut drifted, mut changes, mut explained) = (0, 0_u64, 0_u64);
    for Compares { object, found } in compared.iter().filter(|one| !one.found.changes.is_empty()) {
        drifted += u64::from(found.is_drift());
        // Writing to a string cannot fail.
        let _ok = writeln!(text, "{}", printable(&object.object.reference.to_string()));
        for change in &found.changes {
            let of_which = if change.explained_by.is_some() { &mut explained } else { &mut changes };
            *of_which += 1;
            text.push_str(&line(change));
        }
        if found.more > 0 {
            let _ok = writeln!(text, "  … and {} more", manifest::counted(found.more, "change"));
        }
    }
    let compared = compared.len();
    let _ok = writeln!(text, "objects: {compared} · drifted: {drifted} · changes: {changes} · explained: {explained}");
    text
}

fn line(change: &FieldChange) -> String {
    let kind = match change.kind {
        ChangeKind::Edited => "edited",
        ChangeKind::Added => "added",
        ChangeKind::Removed => "removed",
        ChangeKind::Deleted => "deleted",
    };
    let severity = change.class.severity();
    let field = match change.kind {
        ChangeKind::Deleted => "the whole object".to_owned(),
        _ => change.field.to_string(),
    };
    let level = match change.explained_by {
        Some(_) => format!("{:<9}", "explained"),
        None if severity >= Severity::High => paint(&format!("{severity:<9}"), Paint::Bad),
        None => format!("{severity:<9}"),
    };
    let mut text = format!("  {level} {kind:<8} {} ({})\n", printable(&field), change.class);
    for (name, value) in [("desired", &change.desired), ("live", &change.live)] {
        if let Some(value) = value.as_ref().filter(|_| change.kind != ChangeKind::Deleted) {
            let _ok = writeln!(text, "            {name:<8} {}", printable(&value.to_string()));
        }
    }
    if let Some(by) = change.explained_by {
        let reason = catalogue().find(|line| line.name == by).map_or("", |line| line.reason);
        let _ok = writeln!(text, "            by       {by}: {reason}");
    }
    text
}
