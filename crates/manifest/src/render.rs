//! Rendering plain YAML: files of one Sync's path become a set of complete objects.

use std::collections::{BTreeMap, btree_map::Entry};

use crate::{
    ClusterId, CrdScopes, Digest, Finding, GroupKind, ManifestCode, Object, ObjectRef, Rendered, RepoPath, Scope,
    ScopeLookup, Subject, canonical_json,
    complete::{Candidate, complete},
    counted::counted,
    declared::{declares_objects, expand},
    parse_yaml,
};

/// The most files of a set: one for each of the 10,000 objects writ is built for, and as many that declare nothing.
pub const MAX_SET_FILES: usize = 20_000;
/// The most bytes of a set: 10,000 objects of 3.2 kB, twice the mean of real manifests.
pub const MAX_SET_BYTES: usize = 32 << 20;
/// The most objects of a set: the 10,000 writ is built for and a quarter more. At 22 kB each as values: 275 MB at worst.
pub const MAX_SET_OBJECTS: usize = 12_500;
/// The most findings listed at once; more than anyone reads in one go. At 1 kB each: 100 kB.
pub const MAX_FINDINGS: usize = 100;

/// How to complete the objects of a set.
#[derive(Clone)]
pub struct RenderOptions<'a> {
    /// The cluster they are meant for.
    pub cluster: ClusterId,
    /// Namespace of namespaced objects that name none, where there is no target namespace.
    pub default_namespace: &'a str,
    /// The Sync's `targetNamespace`: the only namespace its objects may be in.
    pub target_namespace: Option<&'a str>,
    /// Knows which kinds live in a namespace. CRDs of the set itself are asked second.
    pub scopes: &'a dyn ScopeLookup,
    /// Kinds whose values are masked like those of a Secret.
    pub sensitive_kinds: &'a [GroupKind],
}

/// A set of complete objects, each once, ordered by reference.
#[derive(Debug, Clone, PartialEq)]
pub struct RenderedSet {
    objects: BTreeMap<ObjectRef, Rendered>,
}

impl RenderedSet {
    /// A set of these objects, which must be complete as [`render_plain`] leaves them.
    ///
    /// # Errors
    /// M115 for each object that is there twice.
    pub fn new(objects: impl IntoIterator<Item = Rendered>) -> Result<Self, Vec<Finding>> {
        let mut findings = Findings::default();
        let set = Self::collect(objects, &mut findings);
        findings.into_result(set)
    }

    fn collect(objects: impl IntoIterator<Item = Rendered>, findings: &mut Findings) -> Self {
        let mut map = BTreeMap::new();
        for rendered in objects {
            match map.entry(rendered.object.reference.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(rendered);
                }
                Entry::Occupied(entry) => findings.push(duplicate(entry.get(), &rendered)),
            }
        }
        Self { objects: map }
    }

    /// The objects in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Rendered> + Clone {
        self.objects.values()
    }

    /// One object.
    #[must_use]
    pub fn get(&self, reference: &ObjectRef) -> Option<&Rendered> {
        self.objects.get(reference)
    }

    /// How many objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Digest over the canonical JSON of all objects in order, each preceded by its length. It holds Secret values:
    /// equal sets are recognised by it, but nothing can be learnt from it that a guess of the whole set would not show.
    /// It is made at each call.
    #[must_use]
    pub fn digest(&self) -> Digest {
        digest(&self.objects)
    }

    /// The objects in order, by value.
    #[must_use]
    pub fn into_objects(self) -> Vec<Rendered> {
        self.objects.into_values().collect()
    }
}

fn digest(objects: &BTreeMap<ObjectRef, Rendered>) -> Digest {
    // One digest for each object, so that the canonical bytes of the whole set are never in memory at once.
    let parts: Vec<_> = objects.values().map(|rendered| Digest::of(&canonical_json(&rendered.object.value))).collect();
    Digest::of_parts(parts.iter().map(|part| part.as_bytes().as_slice()))
}

fn duplicate(first: &Rendered, second: &Rendered) -> Finding {
    let mut places: Vec<_> = first.sources.iter().chain(&second.sources).collect();
    places.sort_unstable();
    let places: Vec<_> = places.iter().map(|origin| format!("{}:{}", origin.file, origin.line)).collect();
    Finding {
        code: ManifestCode::M115.entry(),
        subject: Subject::Object { reference: first.object.reference.clone(), field: None },
        rule: None,
        found: format!("declared at {}", places.join(" and ")).into(),
        needed: "one declaration".into(),
        fix: "remove one of the places named".into(),
    }
}

/// Findings of a set, bounded.
#[derive(Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    further: usize,
}

impl Findings {
    pub(crate) fn push(&mut self, finding: Finding) {
        if self.list.len() < MAX_FINDINGS { self.list.push(finding) } else { self.further += 1 }
    }

    fn into_result<T>(mut self, value: T) -> Result<T, Vec<Finding>> {
        if self.list.is_empty() {
            return Ok(value);
        }
        self.list.sort_unstable_by(|a, b| (&a.subject, a).cmp(&(&b.subject, b)));
        if self.further > 0 {
            let fix = "mend the findings listed and check again";
            self.list.push(limit(counted(self.further, "further finding"), &format!("at most {MAX_FINDINGS}"), fix));
        }
        Err(self.list)
    }
}

fn limit(found: String, needed: &str, fix: &str) -> Finding {
    Finding {
        code: ManifestCode::M102.entry(),
        subject: Subject::Named("the rendered set".to_owned()),
        rule: None,
        found: found.into(),
        needed: needed.into(),
        fix: fix.into(),
    }
}

/// Renders plain YAML: reads the files that declare objects, expands Lists, completes and checks every object. Other
/// files are left alone, except that Kustomize and Helm files are refused.
///
/// What is changed in an object: its namespace is filled in, `stringData` of a Secret is folded into `data`, base64 is
/// written canonically, and an empty `status` and `creationTimestamp: null` (what generators leave behind) are removed.
///
/// # Errors
/// All findings at once (at most [`MAX_FINDINGS`], then a count), sorted by place: M101–M111 and M113–M122.
pub fn render_plain<'a>(
    files: impl IntoIterator<Item = (&'a RepoPath, &'a [u8])>,
    options: &RenderOptions<'_>,
) -> Result<RenderedSet, Vec<Finding>> {
    let mut findings = Findings::default();
    let candidates = read(files, &mut findings);
    let defined = CrdScopes::of(candidates.iter().map(|candidate| &candidate.value));
    let scopes = (options.scopes, &defined);
    let objects: Vec<_> =
        candidates.into_iter().filter_map(|candidate| place(candidate, &scopes, options, &mut findings)).collect();
    let set = RenderedSet::collect(objects, &mut findings);
    findings.into_result(set)
}

/// Reads and completes the objects of all files, as far as that is possible without knowing scopes.
fn read<'a>(files: impl IntoIterator<Item = (&'a RepoPath, &'a [u8])>, findings: &mut Findings) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    let mut total = 0_usize;
    for (count, (file, bytes)) in files.into_iter().enumerate() {
        total = total.saturating_add(bytes.len());
        if count == MAX_SET_FILES || total > MAX_SET_BYTES || candidates.len() > MAX_SET_OBJECTS {
            findings.push(limit(
                "more than is rendered as one set".to_owned(),
                &format!("at most {MAX_SET_FILES} files, {MAX_SET_BYTES} bytes and {MAX_SET_OBJECTS} objects"),
                "split the path into several Syncs",
            ));
            break;
        }
        if let Some(finding) = unsupported(file) {
            findings.push(finding);
            continue;
        }
        if !declares_objects(file) {
            continue;
        }
        match parse_yaml(file, bytes) {
            Err(finding) => findings.push(finding),
            Ok(documents) => {
                for document in &documents {
                    for node in expand(&document.root) {
                        candidates.extend(complete(file, document.index, node, findings));
                    }
                }
            }
        }
    }
    candidates
}

/// Refuses the files that ask for a renderer other than plain YAML.
fn unsupported(file: &RepoPath) -> Option<Finding> {
    let (what, command) = match file.file_name()? {
        "kustomization.yaml" | "kustomization.yml" | "Kustomization" => ("a Kustomize file", "kustomize build"),
        "Chart.yaml" => ("a Helm chart", "helm template"),
        _ => return None,
    };
    Some(Finding {
        code: ManifestCode::M122.entry(),
        subject: Subject::Path { path: file.clone(), line: None, column: None },
        rule: None,
        found: what.into(),
        needed: "plain YAML".into(),
        fix: format!("commit what `{command}` prints under the Sync's path instead").into(),
    })
}

/// Puts an object into its namespace.
fn place(
    mut candidate: Candidate,
    scopes: &dyn ScopeLookup,
    options: &RenderOptions<'_>,
    findings: &mut Findings,
) -> Option<Rendered> {
    let Some(scope) = scopes.scope(&candidate.group_kind) else {
        findings.push(candidate.finding(
            ManifestCode::M117,
            candidate.position,
            format!("kind {} is not known", candidate.group_kind),
            "a built-in kind, one the cluster serves, or one with a CustomResourceDefinition in the same path",
            "check apiVersion and kind, or commit the CustomResourceDefinition",
        ));
        return None;
    };
    let namespace = match (scope, candidate.namespace.take(), options.target_namespace) {
        (Scope::Cluster, None, _) => None,
        (Scope::Cluster, Some((namespace, at)), _) => {
            let found = format!("namespace {namespace:?} on the cluster-scoped {}", candidate.title());
            findings.push(candidate.finding(
                ManifestCode::M116,
                at,
                found,
                "no namespace",
                "remove metadata.namespace",
            ));
            return None;
        }
        (Scope::Namespaced, None, target) => Some(target.unwrap_or(options.default_namespace).to_owned()),
        (Scope::Namespaced, Some((namespace, at)), Some(target)) if namespace != target => {
            let found = format!("namespace {namespace:?} on {}", candidate.title());
            let needed = format!("{target:?}, the Sync's targetNamespace, or none");
            findings.push(candidate.finding(ManifestCode::M116, at, found, &needed, "remove metadata.namespace"));
            return None;
        }
        (Scope::Namespaced, Some((namespace, _at)), _) => Some(namespace),
    };
    let metadata = candidate.value.get_mut("metadata").and_then(serde_json::Value::as_object_mut);
    if let (Some(metadata), Some(namespace)) = (metadata, &namespace) {
        metadata.insert("namespace".to_owned(), namespace.as_str().into());
    }
    let sensitive = candidate.is_secret() || options.sensitive_kinds.contains(&candidate.group_kind);
    let reference = ObjectRef {
        cluster: options.cluster.clone(),
        group_kind: candidate.group_kind,
        namespace,
        name: candidate.name,
    };
    let object = Object { reference, api_version: candidate.api_version, value: candidate.value };
    Some(Rendered { object, sources: vec![candidate.origin], sensitive })
}
