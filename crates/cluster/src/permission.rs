//! Permissions as commands that can be pasted.

use manifest::shell_quote;

/// What writ asks of a kind that it applies and prunes.
const APPLY_VERBS: &str = "get,list,create,patch,delete";
/// How Kubernetes calls a ServiceAccount that is a client: `system:serviceaccount:<namespace>:<name>`.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// Lets `user` apply a kind, in a namespace or in the cluster. `resource` is as in `kubectl get`, e.g. `deployments.apps`.
pub(crate) fn apply(user: &str, resource: &str, namespace: Option<&str>) -> String {
    let rule = format!("--verb={APPLY_VERBS} --resource={resource}");
    bound(user, &role_name(user, resource), &rule, namespace)
}

/// Lets `user` act as the ServiceAccount that is the client `who`.
pub(crate) fn act_as(user: &str, who: &str) -> String {
    let (namespace, name) = account(who).map_or((None, who), |(namespace, name)| (Some(namespace), name));
    let rule = format!("--verb=impersonate --resource=serviceaccounts --resource-name={}", shell_quote(name));
    bound(user, &role_name(user, &format!("as:{name}")), &rule, namespace)
}

/// A role of its own and its binding: roles that are there are not touched.
fn bound(user: &str, role: &str, rule: &str, namespace: Option<&str>) -> String {
    let role = shell_quote(role);
    let subject = account(user).map_or_else(
        || format!("--user={}", shell_quote(user)),
        |(namespace, name)| format!("--serviceaccount={}", shell_quote(&format!("{namespace}:{name}"))),
    );
    let (kind, place) = namespace.map_or_else(
        || ("clusterrole", String::new()),
        |namespace| ("role", format!(" -n {}", shell_quote(namespace))),
    );
    format!(
        "kubectl create {kind} {role} {rule}{place} && kubectl create {kind}binding {role} --{kind}={role} {subject}{place}"
    )
}

/// A role for each client and kind, so that one that is there already is in nobody's way.
fn role_name(user: &str, what: &str) -> String {
    let user = user.strip_prefix(SERVICE_ACCOUNT).unwrap_or(user);
    // These two may not stand in a name of RBAC.
    format!("writ:{user}:{what}").replace(['/', '%'], "-")
}

/// Namespace and name of a ServiceAccount.
fn account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix(SERVICE_ACCOUNT)?.split_once(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_a_namespace() {
        assert_eq!(
            apply("system:serviceaccount:shop:deployer", "deployments.apps", Some("shop")),
            "kubectl create role writ:shop:deployer:deployments.apps --verb=get,list,create,patch,delete \
             --resource=deployments.apps -n shop && kubectl create rolebinding writ:shop:deployer:deployments.apps \
             --role=writ:shop:deployer:deployments.apps --serviceaccount=shop:deployer -n shop"
        );
    }

    #[test]
    fn a_kind_of_the_cluster_for_a_user() {
        assert_eq!(
            apply("https://id.example/a b", "namespaces", None),
            "kubectl create clusterrole 'writ:https:--id.example-a b:namespaces' --verb=get,list,create,patch,delete \
             --resource=namespaces && kubectl create clusterrolebinding 'writ:https:--id.example-a b:namespaces' \
             --clusterrole='writ:https:--id.example-a b:namespaces' --user='https://id.example/a b'"
        );
    }

    #[test]
    fn acting_as_one_service_account() {
        assert_eq!(
            act_as("system:serviceaccount:writ-system:writ", "system:serviceaccount:shop:deployer"),
            "kubectl create role writ:writ-system:writ:as:deployer --verb=impersonate --resource=serviceaccounts \
             --resource-name=deployer -n shop && kubectl create rolebinding writ:writ-system:writ:as:deployer \
             --role=writ:writ-system:writ:as:deployer --serviceaccount=writ-system:writ -n shop"
        );
    }
}
