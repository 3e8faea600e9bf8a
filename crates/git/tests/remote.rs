//! Polls and fetches over https from the real `git http-backend`, and what a hostile or broken
//! server gets. This executable is also the fetch child, hence its own `main`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

mod children;
mod confined;
mod formats;
mod hostile;
mod large;
mod mirrors;
mod packs;
mod proofs;
mod refs;
mod room;
mod servers;
mod setting;
mod ssh;
mod tags;

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::Instant,
};

use git::fetch_child;

use setting::{CANARY, Setting, basic, child, everything, exchange, noise, shell};

const CHILD: &str = "git-fetch-child";
const MAIN: &str = "refs/heads/main";

/// A test by its name.
type Case = (&'static str, fn());

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == CHILD) {
        return fetch_child(io::stdin(), io::stdout());
    }
    if arguments.first().is_some_and(|first| first == confined::PROBE) {
        return confined::probe(&arguments);
    }
    let cases: &[Case] = &[
        (
            "thousands_of_branches_that_begin_alike_hide_nothing",
            large::thousands_of_branches_that_begin_alike_hide_nothing,
        ),
        ("refused_pushes_do_not_pile_up", room::refused_pushes_do_not_pile_up),
        ("a_mirror_that_would_be_too_large_is_w603", room::a_mirror_that_would_be_too_large_is_w603),
        ("what_is_pinned_stays_whenever_the_power_goes", room::what_is_pinned_stays_whenever_the_power_goes),
        ("whoever_reads_goes_on_when_a_pack_moves", room::whoever_reads_goes_on_when_a_pack_moves),
        ("branches_of_others_cost_nothing", large::branches_of_others_cost_nothing),
        ("as_many_objects_as_may_be_fit_into_memory", large::as_many_objects_as_may_be_fit_into_memory),
        ("a_commit_that_is_too_large_is_w603", large::a_commit_that_is_too_large_is_w603),
        ("a_base_that_is_too_large_is_w603", large::a_base_that_is_too_large_is_w603),
        ("a_large_file_is_w603", large::a_large_file_is_w603),
        ("what_git_cannot_parse_does_not_stay", large::what_git_cannot_parse_does_not_stay),
        ("a_mirror_of_many_packs_is_compacted", packs::a_mirror_of_many_packs_is_compacted),
        ("a_pack_with_a_large_object_stays", packs::a_pack_with_a_large_object_stays),
        ("a_mirror_that_is_nearly_full_is_compacted", packs::a_mirror_that_is_nearly_full_is_compacted),
        (
            "what_lies_above_a_pin_goes_when_the_mirror_is_compacted",
            packs::what_lies_above_a_pin_goes_when_the_mirror_is_compacted,
        ),
        ("one_pin_keeps_a_line", packs::one_pin_keeps_a_line),
        ("a_mirror_that_was_fetched_600_times_goes_on", packs::a_mirror_that_was_fetched_600_times_goes_on),
        ("whoever_waits_for_a_turn_loses_nothing", room::whoever_waits_for_a_turn_loses_nothing),
    ];
    run(
        &[
            cases,
            children::CASES,
            confined::CASES,
            formats::CASES,
            hostile::CASES,
            mirrors::CASES,
            proofs::CASES,
            refs::CASES,
            servers::CASES,
            ssh::CASES,
            tags::CASES,
        ]
        .concat(),
        &arguments,
    )
}

/// What cargo and nextest expect of a test executable.
fn run(cases: &[Case], arguments: &[String]) -> ExitCode {
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if has("--list") {
        if !has("--ignored") {
            cases.iter().for_each(|(name, _)| println!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| {
        filters.is_empty()
            || filters.iter().any(|filter| if has("--exact") { name == *filter } else { name.contains(*filter) })
    };
    let started = Instant::now();
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in cases.iter().filter(|(name, _)| wanted(name)) {
        let good = catch_unwind(AssertUnwindSafe(case)).is_ok();
        println!("test {name} ... {}", if good { "ok" } else { "FAILED" });
        *(if good { &mut passed } else { &mut failed }) += 1;
    }
    // What `cargo xtask test` adds up.
    println!(
        "\ntest result: {}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        if failed == 0 { "ok" } else { "FAILED" },
        cases.len() - passed - failed,
        started.elapsed().as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
