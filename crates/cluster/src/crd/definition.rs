//! The CustomResourceDefinitions: schemas from the spec types, and rules that refuse by name what
//! is not supported yet. The API server drops fields that a schema lacks with a mere warning, so
//! every planned field is in it.

use kube::core::schema::{OptionalEnum, OptionalIntOrString, StructuralSchemaRewriter};
use manifest::{Scope, WriteYamlError, to_yaml};
use plan::SyncSpec;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};
use trust::TrustRootSpec;

use super::{
    BreakGlassSpec, CustomSpec, DriftRequestSpec, GROUP, GitSourceSpec, PauseRequestSpec, RollbackRequestSpec, VERSION,
};

/// A definition cannot be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the CustomResourceDefinition of {kind}")]
pub struct CrdError {
    kind: String,
    source: WriteYamlError,
}

/// A refusal in the schema: the CEL rule holds, or the message is what `kubectl apply` prints.
struct Rule {
    rule: &'static str,
    message: &'static str,
    field: &'static str,
}

/// What was signed does not change.
const IMMUTABLE: Rule = Rule {
    rule: "self == oldSelf",
    message: "spec is signed and cannot be changed; make another object, of another name",
    field: "",
};

/// What says who asked does not change either.
const STAMPED: Rule = Rule {
    rule: "self == oldSelf",
    message: "spec says who asked for what and cannot be changed; make another object, of another name",
    field: "",
};

/// Signatures of an order, in all: 16 of 8 KiB, which is more than those of any kind of key take.
const SIGNATURES: Rule = Rule {
    rule: "self.signatures.map(one, size(one.signature)).sum() <= 131072",
    message: "spec.signatures has more than 131072 characters",
    field: ".signatures",
};

/// A column of `kubectl get`.
struct Column(&'static str, &'static str, &'static str, Width);

#[derive(PartialEq, Eq)]
enum Width {
    Always,
    Wide,
}

/// What a definition has beside its schema.
struct Definition {
    singular: &'static str,
    short: &'static str,
    summary: &'static str,
    labels: &'static [(&'static str, &'static str)],
    columns: &'static [Column],
    rules: &'static [Rule],
    /// Keywords for properties of a spec type that belongs to another crate: pointer in the schema
    /// of `spec`, keyword, value as JSON.
    keywords: &'static [(&'static str, &'static str, &'static str)],
}

const READY: Column = Column("Ready", "string", r#".status.conditions[?(@.type=="Ready")].status"#, Width::Always);
const REASON: Column = Column("Reason", "string", r#".status.conditions[?(@.type=="Ready")].reason"#, Width::Always);
const AGE: Column = Column("Age", "date", ".metadata.creationTimestamp", Width::Always);

const TRUST_ROOT: Definition = Definition {
    singular: "trustroot",
    short: "troot",
    summary: "Where trust in one repository starts.",
    labels: &[],
    columns: &[
        Column("Repository", "string", ".spec.repoId", Width::Always),
        Column("Ref", "string", ".spec.ref", Width::Always),
        Column("Accepted", "string", ".status.acceptedRevision", Width::Wide),
        READY,
        REASON,
        AGE,
    ],
    rules: &[
        Rule {
            rule: "!has(self.limits) || !has(self.limits.steps)",
            message: "spec.limits.steps is not supported yet",
            field: ".limits.steps",
        },
        Rule {
            rule: "self.rootKeys.threshold <= size(self.rootKeys.keys)",
            message: "spec.rootKeys.threshold is more than there are keys",
            field: ".rootKeys.threshold",
        },
    ],
    keywords: &[],
};

const GIT_SOURCE: Definition = Definition {
    singular: "gitsource",
    short: "gsrc",
    summary: "A repository that is fetched and whose commits are verified.",
    labels: &[],
    columns: &[
        Column("URL", "string", ".spec.url", Width::Wide),
        Column("Fetched", "string", ".status.fetchedRevision", Width::Wide),
        Column("Verified", "string", ".status.verifiedRevision", Width::Always),
        Column("Held", "string", ".status.heldRevision.code", Width::Always),
        READY,
        REASON,
        AGE,
    ],
    rules: &[
        Rule { rule: "!has(self.policyFrom)", message: "spec.policyFrom is not supported yet", field: ".policyFrom" },
        Rule {
            rule: "!has(self.allowedNamespaces)",
            message: "spec.allowedNamespaces is not supported yet",
            field: ".allowedNamespaces",
        },
    ],
    keywords: &[],
};

const SYNC: Definition = Definition {
    singular: "sync",
    short: "wsync",
    summary: "A folder of a repository that is applied to the cluster and kept as it is there.",
    labels: &[("applyset.kubernetes.io/is-parent-type", "true")],
    columns: &[
        Column("Source", "string", ".spec.sourceRef.name", Width::Wide),
        Column("Path", "string", ".spec.path", Width::Wide),
        Column("Applied", "string", ".status.appliedRevision", Width::Always),
        Column("Objects", "integer", ".status.objects", Width::Always),
        Column("Drift", "string", r#".status.conditions[?(@.type=="Drifted")].status"#, Width::Always),
        Column("Held", "string", ".status.heldRevision.code", Width::Always),
        READY,
        REASON,
        AGE,
    ],
    rules: &[
        Rule { rule: "!has(self.wait) || !self.wait", message: "spec.wait is not supported yet", field: ".wait" },
        Rule { rule: "!has(self.dependsOn)", message: "spec.dependsOn is not supported yet", field: ".dependsOn" },
        Rule {
            rule: "!has(self.healthChecks)",
            message: "spec.healthChecks is not supported yet",
            field: ".healthChecks",
        },
        Rule {
            rule: "!has(self.advance) || !has(self.advance.mode) || self.advance.mode != 'Manual'",
            message: "spec.advance.mode: Manual is not supported yet; use Auto",
            field: ".advance.mode",
        },
        Rule {
            rule: "!has(self.drift.windows)",
            message: "spec.drift.windows is not supported yet",
            field: ".drift.windows",
        },
        Rule {
            rule: "!has(self.drift.rules)",
            message: "spec.drift.rules is not supported yet",
            field: ".drift.rules",
        },
        Rule {
            rule: "!has(self.drift.ignore)",
            message: "spec.drift.ignore is not supported yet",
            field: ".drift.ignore",
        },
    ],
    keywords: &[
        ("/path", "maxLength", "1024"),
        ("/path", "pattern", r#""^([^/].*)?$""#),
        ("/targetNamespace", "maxLength", "63"),
        ("/targetNamespace", "pattern", r#""^[a-z0-9]([-a-z0-9]*[a-z0-9])?$""#),
        ("/serviceAccountName", "maxLength", "253"),
        ("/serviceAccountName", "pattern", r#""^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$""#),
        ("/timeout", "maxLength", "32"),
        ("/timeout", "pattern", r#""^([0-9]+(s|m|h))+$""#),
        ("/sourceRef/properties/name", "minLength", "1"),
        ("/sourceRef/properties/name", "maxLength", "253"),
        ("/dependsOn", "maxItems", "64"),
        ("/healthChecks", "maxItems", "64"),
        ("/advance/properties/windows", "maxItems", "32"),
        ("/advance/properties/windows/items/properties/schedule", "maxLength", "128"),
        ("/advance/properties/windows/items/properties/duration", "maxLength", "32"),
        ("/advance/properties/windows/items/properties/duration", "pattern", r#""^([0-9]+(s|m|h))+$""#),
        ("/advance/properties/windows/items/properties/timeZone", "maxLength", "64"),
        ("/drift/properties/windows", "maxItems", "32"),
        ("/drift/properties/windows/items/properties/schedule", "maxLength", "128"),
        ("/drift/properties/windows/items/properties/duration", "maxLength", "32"),
        ("/drift/properties/windows/items/properties/duration", "pattern", r#""^([0-9]+(s|m|h))+$""#),
        ("/drift/properties/windows/items/properties/timeZone", "maxLength", "64"),
        ("/drift/properties/rules", "maxItems", "64"),
        ("/drift/properties/rules/items/properties/target", "maxLength", "512"),
        ("/drift/properties/rules/items/properties/paths", "minItems", "1"),
        ("/drift/properties/rules/items/properties/paths", "maxItems", "64"),
        ("/drift/properties/rules/items/properties/reason", "maxLength", "1024"),
        ("/drift/properties/ignore", "maxItems", "64"),
        ("/drift/properties/ignore/items/properties/target", "maxLength", "512"),
        ("/drift/properties/ignore/items/properties/paths", "minItems", "1"),
        ("/drift/properties/ignore/items/properties/paths", "maxItems", "64"),
        ("/drift/properties/ignore/items/properties/reason", "maxLength", "1024"),
        ("/drift/properties/rules/items/properties/severities", "minItems", "1"),
        ("/drift/properties/rules/items/properties/severities", "maxItems", "5"),
        ("/drift/properties/ignore/items/properties/reason", "minLength", "1"),
        ("/drift/properties/ignore/items/properties/managers", "minItems", "1"),
        ("/drift/properties/ignore/items/properties/managers", "maxItems", "16"),
        ("/drift/properties/ignore/items/properties/expires", "maxLength", "64"),
    ],
};

const PAUSE_REQUEST: Definition = Definition {
    singular: "pauserequest",
    short: "pausereq",
    summary: "Stops reverts for a bounded time.",
    labels: &[],
    columns: &[
        Column("Sync", "string", ".spec.sync", Width::Always),
        Column("Until", "string", ".spec.until", Width::Always),
        READY,
        AGE,
    ],
    // `reason` is required, so this refuses each of them.
    rules: &[
        Rule { rule: "!has(self.reason)", message: "PauseRequest is not supported yet", field: ".reason" },
        STAMPED,
    ],
    keywords: &[],
};

const DRIFT_REQUEST: Definition = Definition {
    singular: "driftrequest",
    short: "driftreq",
    summary: "Says of one drift that it is to be reverted now, or that somebody knows of it.",
    labels: &[],
    columns: &[
        Column("Sync", "string", ".spec.sync", Width::Always),
        Column("Drift", "string", ".spec.drift", Width::Always),
        Column("Action", "string", ".spec.action", Width::Always),
        READY,
        AGE,
    ],
    // As above.
    rules: &[
        Rule { rule: "!has(self.reason)", message: "DriftRequest is not supported yet", field: ".reason" },
        STAMPED,
    ],
    keywords: &[],
};

const ROLLBACK_REQUEST: Definition = Definition {
    singular: "rollbackrequest",
    short: "rbreq",
    summary: "A signed order to go back to an earlier accepted revision.",
    labels: &[],
    columns: &[
        Column("Sync", "string", ".spec.sync", Width::Always),
        Column("To", "string", ".spec.to", Width::Always),
        READY,
        AGE,
    ],
    rules: &[IMMUTABLE, SIGNATURES],
    keywords: &[],
};

const BREAK_GLASS: Definition = Definition {
    singular: "breakglass",
    short: "bglass",
    summary: "Waives authorisation, never signatures or history, for at most four hours.",
    labels: &[],
    columns: &[
        Column("Source", "string", ".spec.source", Width::Always),
        Column("Until", "string", ".spec.notAfter", Width::Always),
        READY,
        AGE,
    ],
    rules: &[IMMUTABLE, SIGNATURES],
    keywords: &[],
};

/// All definitions, as they are applied to a cluster.
#[must_use]
pub fn crds() -> Vec<Value> {
    vec![
        definition::<TrustRootSpec>(&TRUST_ROOT),
        definition::<GitSourceSpec>(&GIT_SOURCE),
        definition::<SyncSpec>(&SYNC),
        definition::<PauseRequestSpec>(&PAUSE_REQUEST),
        definition::<DriftRequestSpec>(&DRIFT_REQUEST),
        definition::<RollbackRequestSpec>(&ROLLBACK_REQUEST),
        definition::<BreakGlassSpec>(&BREAK_GLASS),
    ]
}

/// All definitions as one YAML file.
///
/// # Errors
/// When a definition cannot be written.
pub fn crds_yaml() -> Result<String, CrdError> {
    let mut text = String::new();
    for crd in crds() {
        let yaml = to_yaml(&crd).map_err(|source| {
            let kind = crd.pointer("/spec/names/kind").and_then(Value::as_str).unwrap_or_default().to_owned();
            CrdError { kind, source }
        })?;
        text.push_str("---\n");
        text.push_str(&yaml);
        if !yaml.ends_with('\n') {
            text.push('\n');
        }
    }
    Ok(text)
}

fn definition<S>(extra: &Definition) -> Value
where
    S: CustomSpec + JsonSchema,
    S::Status: JsonSchema,
{
    let mut spec = schema::<S>();
    for (pointer, keyword, value) in extra.keywords {
        let mut at = format!("/properties{pointer}");
        at.shrink_to_fit();
        if let (Some(Value::Object(property)), Ok(value)) = (spec.pointer_mut(&at), serde_json::from_str(value)) {
            property.insert((*keyword).to_owned(), value);
        }
    }
    if let Value::Object(spec) = &mut spec {
        let rules = extra.rules.iter().map(|rule| {
            let mut said = json!({"rule": rule.rule, "message": rule.message, "reason": "FieldValueForbidden"});
            if let Some(said) = said.as_object_mut().filter(|_| !rule.field.is_empty()) {
                said.insert("fieldPath".to_owned(), json!(rule.field));
            }
            said
        });
        spec.insert("x-kubernetes-validations".to_owned(), rules.collect());
    }
    let columns = extra.columns.iter().map(|Column(name, kind, path, width)| {
        json!({"name": name, "type": kind, "jsonPath": path, "priority": i32::from(*width == Width::Wide)})
    });
    let labels: Map<String, Value> =
        extra.labels.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{}.{GROUP}", S::PLURAL), "labels": labels},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": S::KIND,
                "listKind": format!("{}List", S::KIND),
                "plural": S::PLURAL,
                "singular": extra.singular,
                "shortNames": [extra.short],
                "categories": ["writ"],
            },
            "scope": match S::SCOPE { Scope::Cluster => "Cluster", Scope::Namespaced => "Namespaced" },
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns.collect::<Value>(),
                "schema": {"openAPIV3Schema": {
                    "description": extra.summary,
                    "type": "object",
                    "required": ["spec"],
                    "properties": {"spec": spec, "status": schema::<S::Status>()},
                }},
            }],
        },
    })
}

/// The structural schema of a type.
fn schema<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::openapi3()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .with_transform(StructuralSchemaRewriter)
        .with_transform(OptionalEnum)
        .with_transform(OptionalIntOrString)
        .into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    scrub(&mut schema);
    schema
}

/// Takes out what a structural schema does not have, or means otherwise: `nullable` would keep an
/// explicit null where it is dropped now, so that `has()` were true of it; formats of Rust's
/// integers are unknown to the API server.
fn scrub(schema: &mut Value) {
    let Value::Object(keywords) = schema else { return };
    for keyword in ["$schema", "title", "nullable"] {
        keywords.remove(keyword);
    }
    keywords.retain(|keyword, value| match keyword.as_str() {
        "default" => !value.is_null(),
        "additionalProperties" => *value != Value::Bool(false),
        "format" => matches!(value.as_str(), Some("date-time" | "int32" | "int64")),
        _ => true,
    });
    for keyword in ["items", "additionalProperties"] {
        if let Some(inner) = keywords.get_mut(keyword) {
            scrub(inner);
        }
    }
    if let Some(Value::Object(properties)) = keywords.get_mut("properties") {
        properties.values_mut().for_each(scrub);
    }
}

#[cfg(test)]
#[path = "definition_tests.rs"]
mod tests;
