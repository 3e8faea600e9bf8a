//! End-to-end tests: the real binary, under the ServiceAccount and permissions of `deploy/`, against a real Kubernetes API server
//! and a real Git server. Each test has a namespace, an instance id and a TrustRoot of its own; most share one control plane.
//!
//! | question | where |
//! |---|---|
//! | does a signed commit reach the cluster, and nothing else | `main_path` |
//! | what happens to a hand edit | `drift` |
//! | who did it, and how that is known | `attribution` |
//! | what is known of drift afterwards | `remembering` |
//! | what do huge objects do | `hostile` |
//! | what is refused, and how a person learns why | `bad_input` |
//! | which known attack is stopped by what | `attacks` |
//! | what is released by a signed tag | `tags` |
//! | what is deleted, and what is not | `prune` |
//! | what becomes of a roll-out that is not complete | `incomplete` |
//! | what happened while writ was down | `restart` |
//! | what survives crashes, outages and full disks | `faults` |
//! | what do orders do that people sign outside of Git | `signed_orders` |
//! | do printed commands work when pasted | `fixes` |
//! | how does trust go on without its roots | `lost_roots` |
//! | is it noticed that a Git server hides something | `freshness` |
//! | is somebody called about drift, and told when it is over | `alerts` |
//! | what is told in mode Audit, and that nothing is done | `audit_mode` |
//! | do accounts without keys approve, and what becomes of keyless signatures when their Sigstore changes its keys | `keyless` |
//! | what waits for a window, and what does not | `windows` |
//! | is a forge heard that says that something was pushed | `webhooks` |
//! | does a secret value leave the apply path | `secrets` |
//!
//! Stories in `scenarios/` are compared with what is seen; `WRIT_BLESS=1` writes them. `WRIT_TEST_SOAK=1` runs more seeds.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests stop at the first surprise")]

mod alerts;
mod attacks;
mod attribution;
mod audit_mode;
mod bad_input;
mod drift;
mod faults;
mod fixes;
mod freshness;
mod hostile;
mod incomplete;
mod keyless;
mod lost_roots;
mod main_path;
mod prune;
mod remembering;
mod restart;
mod secrets;
mod signed_orders;
mod stage;
mod tags;
mod webhooks;
mod windows;
