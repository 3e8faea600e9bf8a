//! What a failed request means, in the words of a finding. The server's own words are shown only
//! for objects that are not sensitive.

use manifest::{CodeEntry, Finding, ObjectRef, Subject, shell_quote};
use plan::{Change, PART_OF_LABEL};

use crate::{
    Identity, Resource,
    apply::{Failure, Retry},
    code::ClusterCode,
    permission,
    request::{ApiFailure, RequestError},
    text::shorten,
};

/// The longest message of a server that is passed on, in bytes.
const MAX_WORDS: usize = 1_024;

/// Where the managers stand in a conflict: `conflict with "kubectl" using v1`.
const CONFLICT_CAUSE: &str = "FieldManagerConflict";

/// Stands for writ's own ServiceAccount where the API server did not say which it is.
const UNKNOWN_ACCOUNT: &str = "system:serviceaccount:NAMESPACE:NAME";

struct Words {
    code: ClusterCode,
    field: Option<String>,
    found: String,
    needed: String,
    fix: String,
    retry: Retry,
}

impl Words {
    fn about(self, reference: &ObjectRef) -> Failure {
        let code: &'static CodeEntry = self.code.entry();
        Failure {
            finding: Finding {
                code,
                subject: Subject::Object { reference: reference.clone(), field: self.field },
                rule: None,
                found: shorten(&self.found, MAX_WORDS).into(),
                needed: self.needed.into(),
                fix: self.fix.into(),
            },
            retry: self.retry,
        }
    }
}

/// Who made a request.
pub(crate) struct Asker<'a> {
    /// As whom.
    pub identity: &'a Identity,
    /// How the API server calls writ itself, if that is known.
    pub own: Option<&'a str>,
}

/// What a failed request about a change means.
pub(crate) fn change(error: &RequestError, change: &Change, resource: &Resource, asker: &Asker<'_>) -> Failure {
    let Some(failure) = error.failure() else {
        return unavailable(error.to_string()).about(&change.reference);
    };
    let words = if change.sensitive { failure.reduced() } else { failure.words() };
    let explained = match failure.status {
        _ if error.is_transient() => unavailable(words),
        401 => forbidden(
            words,
            "credentials that the API server accepts",
            "check writ's kubeconfig or ServiceAccount token",
        ),
        403 if failure.causes.iter().any(|cause| cause.reason == "NamespaceTerminating") => Words {
            code: ClusterCode::A109,
            field: None,
            found: "its namespace is being deleted".to_owned(),
            needed: "a namespace that is Active".to_owned(),
            fix: "none: it is created again when the namespace is back; or remove the object from Git".to_owned(),
            retry: Retry::Later,
        },
        403 => denied(failure, words, change, resource, asker),
        404 if failure.details_kind.is_empty() => Words {
            code: ClusterCode::A103,
            field: None,
            found: format!("the cluster does not serve {}", resource.full_name()),
            needed: "a kind that the cluster serves".to_owned(),
            fix: "add its CustomResourceDefinition to Git, in the same commit or an earlier one".to_owned(),
            retry: Retry::AfterMending,
        },
        409 if failure.causes.iter().any(|cause| cause.reason == CONFLICT_CAUSE) => conflict(failure, change),
        409 => unavailable(words),
        _ => rejected(failure, words),
    };
    explained.about(&change.reference)
}

fn unavailable(found: String) -> Words {
    Words {
        code: ClusterCode::A106,
        field: None,
        found,
        needed: "an API server that answers".to_owned(),
        fix: "none, it is tried again; if it lasts, look at the API server's health".to_owned(),
        retry: Retry::Later,
    }
}

fn forbidden(found: String, needed: &str, fix: &str) -> Words {
    Words {
        code: ClusterCode::A105,
        field: None,
        found,
        needed: needed.to_owned(),
        fix: fix.to_owned(),
        retry: Retry::AfterMending,
    }
}

fn rejected(failure: &ApiFailure, found: String) -> Words {
    let field =
        failure.causes.iter().map(|cause| cause.field.clone()).find(|field| !field.is_empty() && field != "<nil>");
    Words {
        code: ClusterCode::A101,
        fix: field
            .as_ref()
            .map_or_else(|| "correct the object in Git".to_owned(), |field| format!("correct {field} in Git")),
        field,
        found,
        needed: "an object that the API server accepts".to_owned(),
        retry: Retry::AfterMending,
    }
}

/// What RBAC says: `RESOURCE "NAME" is forbidden: User "USER" cannot VERB …`; user and verb. An admission plugin can say the same,
/// but only after its own name (`admission webhook "HOOK" denied the request: …`).
fn rbac(message: &str) -> Option<(&str, &str)> {
    let (about, rest) = message.split_once(" is forbidden: User \"")?;
    let is_object = about.split_once(' ').is_none_or(|(_, name)| name.starts_with('"') && !name.contains(' '));
    let (user, rest) = rest.split_once("\" cannot ").filter(|_| is_object)?;
    Some((user, rest.split(' ').next().unwrap_or_default()))
}

/// `impersonate`; or, of a server that knows finer ones, `impersonate:serviceaccount` or `impersonate-on:serviceaccount:patch`,
/// which it asks for before that one.
fn is_impersonation(verb: &str) -> bool {
    let rest = verb.strip_prefix("impersonate");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '-']))
}

/// Whether a request was denied in words for which it has to be known who writ itself is.
pub(crate) fn is_about_writ(error: &RequestError, identity: &Identity) -> bool {
    let denied = error.failure().filter(|failure| failure.status == 403);
    let denied = denied.and_then(|failure| rbac(failure.message.expose()));
    denied.is_some_and(|(_, verb)| is_impersonation(verb) || *identity == Identity::Own)
}

/// 403: RBAC, which names user and verb, or an admission plugin, which does not. The words may be somebody's who wants a
/// permission: only whom writ knows for the one that asked is in the command that grants it.
fn denied(failure: &ApiFailure, words: String, change: &Change, resource: &Resource, asker: &Asker<'_>) -> Words {
    let Some((named, verb)) = rbac(failure.message.expose()) else { return rejected(failure, words) };
    let acts_as = match asker.identity {
        Identity::Impersonated(who) if is_impersonation(verb) => Some(who),
        _ => None,
    };
    let asked = match asker.identity {
        Identity::Impersonated(who) if acts_as.is_none() => Some(&**who),
        _ => asker.own,
    };
    if asked.is_some_and(|asked| asked != named) {
        return rejected(failure, words);
    }
    let (asked, note) = asked.map_or((UNKNOWN_ACCOUNT, " # of writ's own ServiceAccount"), |asked| (asked, ""));
    if let Some(who) = acts_as {
        return forbidden(
            format!("writ may not act as {who}"),
            "the verb impersonate on exactly this ServiceAccount",
            &format!("{}{note}", permission::act_as(asked, who)),
        );
    }
    let user = match asker.identity {
        Identity::Impersonated(user) => user,
        Identity::Own => "writ's own ServiceAccount",
    };
    let place = change
        .reference
        .namespace
        .as_ref()
        .map_or_else(|| "in the cluster".to_owned(), |name| format!("in namespace {name}"));
    let name = resource.full_name();
    let grant = permission::apply(asked, &name, change.reference.namespace.as_deref());
    forbidden(
        format!("{user} may not {verb} {name} {place}"),
        &format!("the verb {verb} on {name} {place}"),
        &format!("{grant}{}", if note.is_empty() { " # or remove the object from Git" } else { note }),
    )
}

/// 409 of an unforced apply: others own fields. A cause names the manager, never a value.
fn conflict(failure: &ApiFailure, change: &Change) -> Words {
    let causes = || failure.causes.iter().filter(|cause| cause.reason == CONFLICT_CAUSE);
    if causes().any(|cause| cause.field.contains(PART_OF_LABEL)) {
        return foreign_words("of somebody else");
    }
    let mut managers: Vec<&str> = causes().filter_map(|cause| cause.message.expose().split('"').nth(1)).collect();
    managers.sort_unstable();
    managers.dedup();
    let fields: Vec<&str> = causes().map(|cause| cause.field.trim_start_matches('.')).take(5).collect();
    let kubectl = change.reference.namespace.as_ref().map_or_else(String::new, |namespace| format!(" -n {namespace}"));
    Words {
        code: ClusterCode::A102,
        field: fields.first().map(|field| (*field).to_owned()),
        found: format!("it exists, and {} owns {}", managers.join(", "), fields.join(", ")),
        needed: "an object that nobody else owns, or a signed order to take it over".to_owned(),
        fix: format!(
            "annotate it in Git with writ.dev/adopt: force; or look at it with kubectl get {} {}{kubectl} -o yaml --show-managed-fields and remove it from Git",
            change.reference.group_kind, change.reference.name
        ),
        retry: Retry::AfterMending,
    }
}

fn foreign_words(owner: &str) -> Words {
    Words {
        code: ClusterCode::A107,
        field: Some(format!("metadata.labels[{PART_OF_LABEL}]")),
        found: format!("it is part of the ApplySet {owner}"),
        needed: "an object that no other ApplySet owns".to_owned(),
        fix: "release it there first, or remove it from Git".to_owned(),
        retry: Retry::AfterMending,
    }
}

/// The object belongs to another ApplySet.
pub(crate) fn foreign(reference: &ObjectRef, owner: &str) -> Failure {
    foreign_words(&shorten(owner, 63)).about(reference)
}

/// The object to be deleted is not the one that was judged.
pub(crate) fn moved_on(reference: &ObjectRef) -> Failure {
    Words {
        code: ClusterCode::A104,
        field: None,
        found: "it changed after it was judged".to_owned(),
        needed: "the object as it was judged".to_owned(),
        fix: "none, it is judged again".to_owned(),
        retry: Retry::Later,
    }
    .about(reference)
}

/// The object to be deleted is not ours.
pub(crate) fn not_ours(reference: &ObjectRef, resource: &Resource) -> Failure {
    let namespace = reference.namespace.as_ref().map_or_else(String::new, |namespace| format!(" -n {namespace}"));
    Words {
        code: ClusterCode::A108,
        field: None,
        found: "it no longer carries this Sync's label and writ's apply".to_owned(),
        needed: "an object that writ applied".to_owned(),
        fix: format!(
            "kubectl delete {} {}{namespace} # if it should go",
            resource.full_name(),
            shell_quote(&reference.name)
        ),
        retry: Retry::AfterMending,
    }
    .about(reference)
}

/// A definition is not served in time.
pub(crate) fn not_ready(reference: &ObjectRef, resource: &Resource, words: &str) -> Failure {
    Words {
        code: ClusterCode::A109,
        field: None,
        found: words.to_owned(),
        needed: "a definition that is Established, a Namespace that is Active".to_owned(),
        fix: format!("kubectl describe {} {}", resource.full_name(), shell_quote(&reference.name)),
        retry: Retry::Later,
    }
    .about(reference)
}

/// The plan's time ran out.
pub(crate) fn too_late(reference: &ObjectRef, fix: &str) -> Failure {
    Words {
        code: ClusterCode::A110,
        field: None,
        found: "the roll-out's time ran out before it was applied".to_owned(),
        needed: "its turn in time".to_owned(),
        fix: fix.to_owned(),
        retry: Retry::Later,
    }
    .about(reference)
}

/// The kind is not served.
pub(crate) const fn unknown_kind(finding: Finding) -> Failure {
    Failure { finding, retry: Retry::AfterMending }
}

/// A change that no resource was found for.
pub(crate) fn no_resource(reference: &ObjectRef) -> Failure {
    Words {
        code: ClusterCode::A103,
        field: None,
        found: "the cluster does not serve its kind".to_owned(),
        needed: "a kind that the cluster serves".to_owned(),
        fix: "add its CustomResourceDefinition to Git".to_owned(),
        retry: Retry::AfterMending,
    }
    .about(reference)
}

/// The inventory annotations of a Sync could not be written, so nothing else is.
pub(crate) fn inventory(sync: &plan::SyncRef, error: &RequestError) -> Failure {
    // A Sync is not sensitive.
    let words = error.failure().map_or_else(|| error.to_string(), ApiFailure::words);
    let (code, retry) =
        if error.is_transient() { (ClusterCode::A106, Retry::Later) } else { (ClusterCode::A105, Retry::AfterMending) };
    Failure {
        finding: Finding {
            code: code.entry(),
            subject: Subject::Named(format!("Sync {sync}")),
            rule: None,
            found: format!("its inventory annotations cannot be written: {}", shorten(&words, MAX_WORDS)).into(),
            needed: "the inventory before the first object of a kind".into(),
            fix: "grant writ's ServiceAccount the verb patch on syncs.writ.dev".into(),
        },
        retry,
    }
}
