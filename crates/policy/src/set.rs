//! The policy set of a revision: loaded as a whole or not at all, and its judgement of a rendered
//! set.

use std::collections::BTreeMap;

use manifest::{
    Digest, Finding, GroupKind, ObjectRef, Rendered, RenderedSet, RepoPath, Subject, parse_yaml, shell_quote,
};

use crate::{
    AdmissionBinding, AdmissionPolicy, EVALUATION_STACK_BYTES, EvaluationError, MAX_COPIED_BYTES, MAX_MADE_BYTES,
    MAX_STEPS, PolicyCode,
    admission::{Reader, ResourceRule, RuleScope, Validation, VersionMatch},
    environment,
};

/// The most policies of one set: ten times the largest published collection.
pub const MAX_POLICIES: usize = 2_000;
/// The most findings of one judgement, which ends there and says so. 200 fill several screens already.
pub const MAX_FINDINGS: usize = 200;

/// The most steps of one judgement, as the sum of the bounds of all evaluations: 10,000 objects × 20 policies are 200,000
/// evaluations of 10,000 steps each, and that of an ordinary policy has about a hundred, and with a pattern
/// to match about 7,000. At 0.1 µs a step it is 200 seconds.
pub const MAX_SET_STEPS: u64 = 2_000_000_000;

/// The folder of the waivers.
const WAIVERS: &str = "waivers";

/// What an apply of an object will be to the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// There is no such object.
    Create,
    /// There is one.
    Update,
}

impl Operation {
    const fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
        }
    }
}

/// Facts about the cluster that matching needs.
pub trait Facts {
    /// Whether applying `reference` creates or updates it.
    fn operation(&self, reference: &ObjectRef) -> Operation;
    /// The plural resource name of a kind; `None` if the cluster does not know it (yet).
    fn resource(&self, kind: &GroupKind) -> Option<String>;
}

/// Every policy in force at one revision.
#[derive(Debug)]
pub struct PolicySet {
    policies: Vec<AdmissionPolicy>,
    digest: Digest,
}

impl PolicySet {
    /// Loads the files under `policies/` and `waivers/`.
    ///
    /// # Errors
    /// Every mistake of every file: the set is loaded as a whole or not at all.
    pub fn compile(files: &BTreeMap<RepoPath, Vec<u8>>) -> Result<Self, Vec<Finding>> {
        on_large_stack(|| load(files)).unwrap_or_else(|panic| Err(vec![broken("loading the policies", &panic)]))
    }

    /// The set without policies.
    #[must_use]
    pub fn empty() -> Self {
        Self { policies: Vec::new(), digest: set_digest(&BTreeMap::new()) }
    }

    /// Digest of the files the set was loaded from.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The policies in force, by name.
    #[must_use]
    pub fn policies(&self) -> &[AdmissionPolicy] {
        &self.policies
    }

    /// Judges every object of `set`; every finding is a denial. An error is a denial too.
    pub fn judge(&self, set: &RenderedSet, facts: &(dyn Facts + Sync)) -> Vec<Finding> {
        if self.policies.is_empty() {
            return Vec::new();
        }
        on_large_stack(|| self.judge_all(set, facts))
            .unwrap_or_else(|panic| vec![broken("judging the objects", &panic)])
    }

    fn judge_all(&self, set: &RenderedSet, facts: &dyn Facts) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut budget = Budget { left: MAX_SET_STEPS, spent: BTreeMap::new() };
        let defined = defined_resources(set);
        for rendered in set.iter() {
            let reference = &rendered.object.reference;
            let resource =
                facts.resource(&reference.group_kind).or_else(|| defined.get(&reference.group_kind).cloned());
            let operation = facts.operation(reference);
            for policy in &self.policies {
                // Matching: a step for each rule.
                budget.left = budget.left.saturating_sub(policy.rules.len() as u64);
                if !policy.matches(rendered, resource.as_deref(), operation) {
                    continue;
                }
                for validation in &policy.validations {
                    match policy.judge(validation, rendered, &mut budget) {
                        Ok(finding) => findings.extend(finding),
                        Err(finding) => {
                            findings.truncate(MAX_FINDINGS - 1);
                            findings.push(finding);
                            return findings;
                        }
                    }
                }
            }
            if findings.len() > MAX_FINDINGS {
                let rest = findings.drain(MAX_FINDINGS - 1..).next().map(unlisted);
                findings.extend(rest);
                break;
            }
        }
        findings
    }
}

/// What is left for a judgement.
struct Budget<'s> {
    left: u64,
    /// What each policy took, by name.
    spent: BTreeMap<&'s str, u64>,
}

impl Budget<'_> {
    /// The judgement ends at `reference`, without a verdict.
    fn exceeded(&self, reference: &ObjectRef) -> Finding {
        let most = self.spent.iter().max_by_key(|(_, spent)| **spent);
        let (policy, spent) = most.map_or(("", 0), |(policy, spent)| (*policy, *spent));
        Finding {
            code: PolicyCode::W804.entry(),
            subject: Subject::Named("the rendered set".to_owned()),
            rule: Some(policy.to_owned()),
            found: format!(
                "judging all objects costs more than {MAX_SET_STEPS} steps, {spent} of them for {policy}, and ends at {reference}"
            ).into(),
            needed: format!("at most {MAX_SET_STEPS} for all objects and policies").into(),
            fix: format!(
                "nest fewer loops and match simpler patterns in the policy {policy}, let its resourceRules select fewer objects, or divide the path of the Sync"
            ).into(),
        }
    }
}

impl AdmissionPolicy {
    fn matches(&self, rendered: &Rendered, resource: Option<&str>, operation: Operation) -> bool {
        self.rules.iter().any(|rule| rule.matches(self.versions, rendered, resource, operation))
    }

    /// What `validation` says about an object.
    ///
    /// # Errors
    /// When the budget of the judgement is used up.
    fn judge<'s>(
        &'s self,
        validation: &Validation,
        rendered: &Rendered,
        budget: &mut Budget<'s>,
    ) -> Result<Option<Finding>, Finding> {
        let before = budget.left;
        let verdict = validation.expression.evaluate_within(&rendered.object.value, &mut budget.left);
        let spent = budget.spent.entry(&self.name).or_default();
        *spent = spent.saturating_add(before - budget.left);
        match verdict {
            Ok(true) => Ok(None),
            Err(EvaluationError::NoneLeft { .. }) => Err(budget.exceeded(&rendered.object.reference)),
            verdict => Ok(Some(self.denial(validation, rendered, verdict))),
        }
    }

    fn denial(&self, validation: &Validation, rendered: &Rendered, verdict: Result<bool, EvaluationError>) -> Finding {
        let source = validation.expression.source();
        let needed = shorten(source);
        let origin = rendered
            .sources
            .first()
            .map_or_else(|| "the manifest".to_owned(), |origin| format!("{}:{}", origin.file, origin.line));
        let (code, found, needed, fix) = match verdict {
            Ok(_) => {
                let said = validation.message.clone().unwrap_or_else(|| format!("failed expression: {needed}"));
                (PolicyCode::W801, said, needed, format!("change the object in {origin}"))
            }
            Err(EvaluationError::TooCostly { steps }) => (
                PolicyCode::W804,
                format!("evaluating costs up to {steps} steps"),
                format!("at most {MAX_STEPS}"),
                format!("nest fewer loops in {}, or shorten the lists and texts in {origin}", self.file),
            ),
            Err(error @ EvaluationError::TooLarge { .. }) => (
                PolicyCode::W804,
                error.to_string(),
                format!("at most {MAX_MADE_BYTES} at once, and {MAX_COPIED_BYTES} in all"),
                format!("join and replace less in {}, or shorten the texts in {origin}", self.file),
            ),
            // The library's message may quote values; those of a Secret are not repeated.
            Err(error) => {
                let said = if rendered.sensitive { "the expression failed".to_owned() } else { error.to_string() };
                (
                    PolicyCode::W805,
                    said,
                    "true or false".to_owned(),
                    format!("guard optional fields with has(...) in {}", self.file),
                )
            }
        };
        Finding {
            code: code.entry(),
            subject: Subject::Object { reference: rendered.object.reference.clone(), field: None },
            rule: Some(self.name.clone()),
            found: found.into(),
            needed: needed.into(),
            fix: fix.into(),
        }
    }
}

impl ResourceRule {
    /// A kind whose plural nobody knows matches every resource of its group: too much is judged
    /// rather than too little.
    fn matches(
        &self,
        versions: VersionMatch,
        rendered: &Rendered,
        resource: Option<&str>,
        operation: Operation,
    ) -> bool {
        let reference = &rendered.object.reference;
        let version = rendered.object.api_version.rsplit('/').next().unwrap_or_default();
        let any = |list: &[String], value: &str| list.iter().any(|item| item == "*" || item == value);
        let scope = match self.scope {
            RuleScope::Any => true,
            RuleScope::Namespaced => reference.namespace.is_some(),
            RuleScope::Cluster => reference.namespace.is_none(),
        };
        scope
            && any(&self.groups, &reference.group_kind.group)
            && (versions == VersionMatch::Equivalent || any(&self.versions, version))
            && (resource.is_none_or(|resource| any(&self.resources, resource))
                || self.resources.iter().any(|item| item == "*/*"))
            && (self.names.is_empty() || any(&self.names, &reference.name))
            && any(&self.operations, operation.name())
    }
}

fn load(files: &BTreeMap<RepoPath, Vec<u8>>) -> Result<PolicySet, Vec<Finding>> {
    let env = environment().map_err(|error| vec![broken("the expression library", &error.to_string())])?;
    let mut loaded = Loaded::default();
    for (file, bytes) in files {
        let mut reader = Reader { file, findings: Vec::new() };
        if file.file_name().is_some_and(|name| name.ends_with(".md")) {
            continue;
        }
        if file.segments().next() == Some(WAIVERS) {
            loaded.findings.push(no_waiver(file));
            continue;
        }
        if !is_yaml(file) {
            loaded.findings.push(no_policy(file));
            continue;
        }
        match parse_yaml(file, bytes) {
            Ok(documents) => documents.iter().for_each(|document| loaded.document(&mut reader, &document.root, &env)),
            Err(finding) => reader.findings.push(finding),
        }
        loaded.findings.append(&mut reader.findings);
    }
    loaded.finish(set_digest(files))
}

/// Stands for what is not listed, beginning with `first`.
fn unlisted(first: Finding) -> Finding {
    Finding {
        subject: Subject::Named("the rendered set".to_owned()),
        found: format!(
            "more is refused than the {} findings that are listed, first {}",
            MAX_FINDINGS - 1,
            first.subject
        )
        .into(),
        fix: "mend what is listed, then see what is left".into(),
        ..first
    }
}

/// A file that would silently not be in force.
fn no_policy(file: &RepoPath) -> Finding {
    not_in_force(
        file,
        "the file is in no form of policy that is supported yet",
        "a file that ends in .yaml, .yml or .json, or a note that ends in .md",
        "rename it, or move it out of policies/, in the commit that brings it".to_owned(),
    )
}

/// A waiver would silently waive nothing.
fn no_waiver(file: &RepoPath) -> Finding {
    let file_name = shell_quote(file.as_str());
    let fix = format!(
        "git rm -- {file_name} && git commit --amend --no-edit --allow-empty --gpg-sign # in the commit that brings it; change the policy instead"
    );
    not_in_force(file, "waivers are not supported yet", "no file under waivers/ but notes that end in .md", fix)
}

fn not_in_force(file: &RepoPath, found: &str, needed: &str, fix: String) -> Finding {
    Finding {
        code: PolicyCode::W803.entry(),
        subject: Subject::Path { path: file.clone(), line: None, column: None },
        rule: None,
        found: found.into(),
        needed: needed.into(),
        fix: fix.into(),
    }
}

fn is_yaml(file: &RepoPath) -> bool {
    file.file_name().is_some_and(|name| [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end)))
}

#[derive(Default)]
struct Loaded {
    policies: BTreeMap<String, AdmissionPolicy>,
    bindings: BTreeMap<String, AdmissionBinding>,
    findings: Vec<Finding>,
}

impl Loaded {
    fn document(&mut self, reader: &mut Reader<'_>, root: &manifest::Node, env: &std::sync::Arc<cel::Env>) {
        let text = |name: &str| match root.get(name).map(|node| &node.value) {
            Some(manifest::NodeValue::String(text)) => text.clone(),
            _ => String::new(),
        };
        let place = Subject::Path {
            path: reader.file.clone(),
            line: Some(root.position.line),
            column: Some(root.position.column),
        };
        let twice = match (text("apiVersion").as_str(), text("kind").as_str()) {
            ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy") => {
                reader.policy(root, env).and_then(|policy| {
                    let name = policy.name.clone();
                    self.policies.insert(name.clone(), policy).map(|_first| name)
                })
            }
            ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding") => {
                reader.binding(root).and_then(|binding| {
                    let name = binding.name.clone();
                    self.bindings.insert(name.clone(), binding).map(|_first| name)
                })
            }
            (version, kind) => {
                reader.findings.push(Finding {
                    code: PolicyCode::W803.entry(),
                    subject: place.clone(),
                    rule: None,
                    found: format!("{version} {kind} is not a policy that is supported yet").into(),
                    needed:
                        "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy or ValidatingAdmissionPolicyBinding"
                            .into(),
                    fix: "move it out of policies/".into(),
                });
                None
            }
        };
        if let Some(name) = twice {
            reader.findings.push(Finding {
                code: PolicyCode::W802.entry(),
                subject: place,
                rule: None,
                found: format!("{name} is declared twice").into(),
                needed: "one policy or binding of a name".into(),
                fix: format!("remove or rename one {name}").into(),
            });
        }
    }

    fn finish(mut self, digest: Digest) -> Result<PolicySet, Vec<Finding>> {
        for binding in self.bindings.values().filter(|binding| !self.policies.contains_key(&binding.policy)) {
            self.findings.push(Finding {
                code: PolicyCode::W802.entry(),
                subject: binding.place.clone(),
                rule: Some(binding.name.clone()),
                found: format!("the binding names the policy {}, which is not there", binding.policy).into(),
                needed: "a policy of that name under policies/".into(),
                fix: format!("add the policy {}, or remove the binding", binding.policy).into(),
            });
        }
        for policy in self.policies.values() {
            if !self.bindings.values().any(|binding| binding.policy == policy.name) {
                self.findings.push(Finding {
                    code: PolicyCode::W802.entry(),
                    subject: Subject::Path { path: policy.file.clone(), line: None, column: None },
                    rule: Some(policy.name.clone()),
                    found: format!("the policy {} has no binding: it would judge nothing", policy.name).into(),
                    needed: "a ValidatingAdmissionPolicyBinding with validationActions [Deny]".into(),
                    fix: format!("add a binding with policyName: {}", policy.name).into(),
                });
            }
        }
        if self.policies.len() > MAX_POLICIES {
            self.findings
                .push(broken("the policy set", &format!("{} policies; at most {MAX_POLICIES}", self.policies.len())));
        }
        if !self.findings.is_empty() {
            return Err(self.findings);
        }
        Ok(PolicySet { policies: self.policies.into_values().collect(), digest })
    }
}

fn set_digest(files: &BTreeMap<RepoPath, Vec<u8>>) -> Digest {
    Digest::of_parts(files.iter().flat_map(|(path, bytes)| [path.as_str().as_bytes(), bytes.as_slice()]))
}

/// The plurals that CustomResourceDefinitions of the set itself give to their kinds.
fn defined_resources(set: &RenderedSet) -> BTreeMap<GroupKind, String> {
    let text =
        |value: &serde_json::Value, path: &str| value.pointer(path).and_then(|text| text.as_str()).map(str::to_owned);
    set.iter()
        .map(|rendered| &rendered.object)
        .filter(|object| {
            object.reference.group_kind == GroupKind::new("apiextensions.k8s.io", "CustomResourceDefinition")
        })
        .filter_map(|object| {
            let kind = GroupKind::new(&text(&object.value, "/spec/group")?, &text(&object.value, "/spec/names/kind")?);
            Some((kind, text(&object.value, "/spec/names/plural")?))
        })
        .collect()
}

fn shorten(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= 160 { line } else { format!("{}…", line.chars().take(160).collect::<String>()) }
}

fn broken(what: &str, why: &str) -> Finding {
    Finding {
        code: PolicyCode::W802.entry(),
        subject: Subject::Named("policies/".to_owned()),
        rule: None,
        found: format!("{what}: {why}").into(),
        needed: "a policy set that loads".into(),
        fix: "mend or remove the policy that was changed last".into(),
    }
}

/// Runs `work` on a thread whose stack holds the deepest expression allowed. A panic becomes an
/// error, never a verdict.
fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("policy".to_owned()).stack_size(EVALUATION_STACK_BYTES);
        let handle = thread.spawn_scoped(scope, work).map_err(|error| error.to_string())?;
        handle.join().map_err(|panic| {
            panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "the evaluation panicked".to_owned())
        })
    })
}

#[cfg(test)]
mod tests;
