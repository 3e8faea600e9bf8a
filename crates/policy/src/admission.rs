//! ValidatingAdmissionPolicy and its Binding, as far as they are supported, read strictly: every
//! field that is not supported yet is refused by its name and place.

use std::sync::Arc;

use cel::Env;
use manifest::{Finding, Node, NodeValue, Position, RepoPath, Subject};

use crate::{Expression, ExpressionError, PolicyCode};

/// The most validations of one policy, policies of one set and rules of one policy: the published
/// collections have at most 20, 200 and 10.
pub const MAX_VALIDATIONS: usize = 64;
/// See [`MAX_VALIDATIONS`].
pub const MAX_RULES: usize = 32;

/// A policy that was loaded.
#[derive(Debug)]
pub struct AdmissionPolicy {
    /// Its name.
    pub name: String,
    /// The file it was read from.
    pub file: RepoPath,
    /// Which objects it judges.
    pub(crate) rules: Vec<ResourceRule>,
    /// Whether other versions of the same resource are judged as well.
    pub(crate) versions: VersionMatch,
    /// What must hold.
    pub(crate) validations: Vec<Validation>,
}

/// A binding that was loaded.
#[derive(Debug)]
pub struct AdmissionBinding {
    /// Its name.
    pub name: String,
    /// The policy it puts in force.
    pub policy: String,
    /// Where it says so.
    pub(crate) place: Subject,
}

/// `matchPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionMatch {
    /// Any served version of the resource (the default).
    Equivalent,
    /// The versions the rule lists.
    Exact,
}

/// One entry of `matchConstraints.resourceRules`.
#[derive(Debug)]
pub(crate) struct ResourceRule {
    pub(crate) groups: Vec<String>,
    pub(crate) versions: Vec<String>,
    pub(crate) operations: Vec<String>,
    pub(crate) resources: Vec<String>,
    pub(crate) names: Vec<String>,
    pub(crate) scope: RuleScope,
}

/// `scope` of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RuleScope {
    Any,
    Namespaced,
    Cluster,
}

/// One entry of `validations`.
#[derive(Debug)]
pub(crate) struct Validation {
    pub(crate) expression: Expression,
    pub(crate) message: Option<String>,
}

/// Reads one document with the fields it knows, collecting findings.
pub(crate) struct Reader<'a> {
    pub(crate) file: &'a RepoPath,
    pub(crate) findings: Vec<Finding>,
}

impl Reader<'_> {
    fn finding(&mut self, code: PolicyCode, position: Position, found: String, needed: String, fix: String) {
        self.findings.push(Finding {
            code: code.entry(),
            subject: self.at(position),
            rule: None,
            found: found.into(),
            needed: needed.into(),
            fix: fix.into(),
        });
    }

    fn at(&self, position: Position) -> Subject {
        Subject::Path { path: self.file.clone(), line: Some(position.line), column: Some(position.column) }
    }

    fn invalid(&mut self, position: Position, field: &str, needed: &str) {
        self.finding(
            PolicyCode::W802,
            position,
            format!("{field} is not {needed}"),
            needed.to_owned(),
            format!("mend {field}"),
        );
    }

    fn unsupported(&mut self, position: Position, what: &str) {
        self.finding(
            PolicyCode::W803,
            position,
            format!("{what} is not supported yet"),
            "a policy without it".to_owned(),
            format!("remove {what}"),
        );
    }

    /// Checks that `node` is a mapping with known fields only. `later` are fields of Kubernetes
    /// that are not supported yet; they are refused unless they are empty.
    fn fields(&mut self, node: &Node, path: &str, known: &[&str], later: &[&str]) {
        let NodeValue::Mapping(fields) = &node.value else {
            return self.invalid(node.position, path, "a mapping");
        };
        for (key, value) in fields {
            let field = if path.is_empty() { key.name.clone() } else { format!("{path}.{}", key.name) };
            if known.contains(&key.name.as_str()) {
                continue;
            }
            if later.contains(&key.name.as_str()) {
                if !is_empty(value) {
                    self.unsupported(key.position, &field);
                }
            } else {
                self.finding(
                    PolicyCode::W802,
                    key.position,
                    format!("{field} is not a field of this kind"),
                    format!("one of {}", known.join(", ")),
                    format!("remove {field}, or mend its spelling"),
                );
            }
        }
    }

    fn text(&mut self, node: &Node, field: &str) -> Option<String> {
        if let NodeValue::String(text) = &node.value {
            return Some(text.clone());
        }
        self.invalid(node.position, field, "a string");
        None
    }

    fn texts(&mut self, node: Option<&Node>, field: &str) -> Vec<String> {
        let Some(node) = node else { return Vec::new() };
        let NodeValue::Sequence(items) = &node.value else {
            self.invalid(node.position, field, "a list of strings");
            return Vec::new();
        };
        items.iter().filter_map(|item| self.text(item, field)).collect()
    }

    fn items<'n>(&mut self, parent: &'n Node, name: &str, path: &str, most: usize) -> &'n [Node] {
        let Some(node) = parent.get(name) else { return &[] };
        match &node.value {
            NodeValue::Sequence(items) if items.len() <= most => items,
            NodeValue::Sequence(_) => {
                self.invalid(node.position, path, &format!("a list of at most {most} items"));
                &[]
            }
            _ => {
                self.invalid(node.position, path, "a list");
                &[]
            }
        }
    }

    fn name(&mut self, document: &Node) -> Option<String> {
        let name = document.get("metadata").and_then(|metadata| metadata.get("name"));
        match name {
            Some(node) => self.text(node, "metadata.name"),
            None => {
                self.invalid(document.position, "metadata.name", "set");
                None
            }
        }
    }

    /// Reads a ValidatingAdmissionPolicy.
    pub(crate) fn policy(&mut self, document: &Node, env: &Arc<Env>) -> Option<AdmissionPolicy> {
        let name = self.name(document)?;
        self.fields(document, "", &["apiVersion", "kind", "metadata", "spec"], &[]);
        let Some(spec) = document.get("spec") else {
            self.invalid(document.position, "spec", "set");
            return None;
        };
        let known = ["failurePolicy", "matchConstraints", "validations"];
        self.fields(spec, "spec", &known, &["paramKind", "matchConditions", "auditAnnotations", "variables"]);
        if let Some(node) = spec.get("failurePolicy")
            && node.value != NodeValue::String("Fail".to_owned())
        {
            self.unsupported(node.position, "spec.failurePolicy other than Fail");
        }
        let (rules, versions) = self.constraints(spec);
        let validations = self.validations(spec, env);
        Some(AdmissionPolicy { name, file: self.file.clone(), rules, versions, validations })
    }

    fn constraints(&mut self, spec: &Node) -> (Vec<ResourceRule>, VersionMatch) {
        let path = "spec.matchConstraints";
        let Some(node) = spec.get("matchConstraints") else {
            self.invalid(spec.position, path, "set");
            return (Vec::new(), VersionMatch::Equivalent);
        };
        self.fields(
            node,
            path,
            &["resourceRules", "matchPolicy"],
            &["namespaceSelector", "objectSelector", "excludeResourceRules"],
        );
        let versions = match node.get("matchPolicy").map(|node| (&node.value, node.position)) {
            None => VersionMatch::Equivalent,
            Some((NodeValue::String(text), _)) if text == "Equivalent" => VersionMatch::Equivalent,
            Some((NodeValue::String(text), _)) if text == "Exact" => VersionMatch::Exact,
            Some((_, position)) => {
                self.invalid(position, "spec.matchConstraints.matchPolicy", "Equivalent or Exact");
                VersionMatch::Equivalent
            }
        };
        let items = self.items(node, "resourceRules", "spec.matchConstraints.resourceRules", MAX_RULES);
        if items.is_empty() {
            self.invalid(node.position, "spec.matchConstraints.resourceRules", "a list with at least one rule");
        }
        (items.iter().enumerate().map(|(index, item)| self.rule(item, index)).collect(), versions)
    }

    fn rule(&mut self, node: &Node, index: usize) -> ResourceRule {
        let path = format!("spec.matchConstraints.resourceRules[{index}]");
        let known = ["apiGroups", "apiVersions", "operations", "resources", "resourceNames", "scope"];
        self.fields(node, &path, &known, &[]);
        let mut list = |name: &str| {
            let texts = self.texts(node.get(name), &format!("{path}.{name}"));
            if texts.is_empty() && name != "resourceNames" {
                self.invalid(node.position, &format!("{path}.{name}"), "a list with at least one string");
            }
            texts
        };
        let (groups, versions) = (list("apiGroups"), list("apiVersions"));
        let (operations, resources, names) = (list("operations"), list("resources"), list("resourceNames"));
        for operation in &operations {
            match operation.as_str() {
                "CREATE" | "UPDATE" => {}
                "DELETE" | "CONNECT" | "*" => {
                    self.unsupported(node.position, &format!("{path}.operations: {operation}"));
                }
                _ => self.invalid(node.position, &format!("{path}.operations"), "CREATE or UPDATE"),
            }
        }
        for resource in resources.iter().filter(|resource| resource.contains('/') && *resource != "*/*") {
            self.unsupported(node.position, &format!("{path}.resources: {resource} (a subresource)"));
        }
        let scope = match node.get("scope").map(|node| (&node.value, node.position)) {
            None => RuleScope::Any,
            Some((NodeValue::String(text), _)) if text == "*" => RuleScope::Any,
            Some((NodeValue::String(text), _)) if text == "Namespaced" => RuleScope::Namespaced,
            Some((NodeValue::String(text), _)) if text == "Cluster" => RuleScope::Cluster,
            Some((_, position)) => {
                self.invalid(position, &format!("{path}.scope"), "Namespaced, Cluster or *");
                RuleScope::Any
            }
        };
        ResourceRule { groups, versions, operations, resources, names, scope }
    }

    fn validations(&mut self, spec: &Node, env: &Arc<Env>) -> Vec<Validation> {
        let items = self.items(spec, "validations", "spec.validations", MAX_VALIDATIONS);
        if items.is_empty() {
            self.invalid(spec.position, "spec.validations", "a list with at least one validation");
        }
        items.iter().enumerate().filter_map(|(index, item)| self.validation(item, index, env)).collect()
    }

    fn validation(&mut self, node: &Node, index: usize, env: &Arc<Env>) -> Option<Validation> {
        let path = format!("spec.validations[{index}]");
        self.fields(node, &path, &["expression", "message"], &["messageExpression", "reason"]);
        let message = node.get("message").and_then(|node| self.text(node, &format!("{path}.message")));
        let Some(source) = node.get("expression") else {
            self.invalid(node.position, &format!("{path}.expression"), "set");
            return None;
        };
        let text = self.text(source, &format!("{path}.expression"))?;
        match Expression::compile(env, &text) {
            Ok(expression) => Some(Validation { expression, message }),
            Err(error) => {
                let (code, needed) = match &error {
                    ExpressionError::Compile(_) | ExpressionError::Undeclared(_) => {
                        (PolicyCode::W802, "a CEL expression over `object`")
                    }
                    ExpressionError::TooCostly(_) => (PolicyCode::W804, "a shorter expression"),
                    ExpressionError::CostlyPattern(_) => (
                        PolicyCode::W804,
                        "a string literal of at most 256 bytes; in it [0-9] for \\d, [0-9A-Za-z_] for \\w, and smaller repetitions",
                    ),
                    ExpressionError::Unsupported(_) => (PolicyCode::W803, "an expression without it"),
                };
                self.finding(
                    code,
                    source.position,
                    error.to_string(),
                    needed.to_owned(),
                    format!("mend {path}.expression"),
                );
                None
            }
        }
    }

    /// Reads a ValidatingAdmissionPolicyBinding.
    pub(crate) fn binding(&mut self, document: &Node) -> Option<AdmissionBinding> {
        let name = self.name(document)?;
        self.fields(document, "", &["apiVersion", "kind", "metadata", "spec"], &[]);
        let Some(spec) = document.get("spec") else {
            self.invalid(document.position, "spec", "set");
            return None;
        };
        self.fields(spec, "spec", &["policyName", "validationActions"], &["paramRef", "matchResources"]);
        let actions = self.texts(spec.get("validationActions"), "spec.validationActions");
        if actions.is_empty() {
            self.invalid(spec.position, "spec.validationActions", "[Deny]");
        }
        for action in &actions {
            match action.as_str() {
                "Deny" => {}
                "Warn" | "Audit" => self.unsupported(spec.position, &format!("spec.validationActions: {action}")),
                _ => self.invalid(spec.position, "spec.validationActions", "[Deny]"),
            }
        }
        let Some(policy) = spec.get("policyName") else {
            self.invalid(spec.position, "spec.policyName", "set");
            return None;
        };
        let place = self.at(policy.position);
        Some(AdmissionBinding { name, policy: self.text(policy, "spec.policyName")?, place })
    }
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        NodeValue::Null => true,
        NodeValue::Sequence(items) => items.is_empty(),
        NodeValue::Mapping(fields) => fields.is_empty(),
        _ => false,
    }
}
