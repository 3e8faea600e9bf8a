//! Settings of libgit2 that hold for the whole process. They are made once, before any other use.

use std::{ffi::c_int, sync::OnceLock};

use git2::{ConfigLevel, opts};

use crate::memory;

/// Objects that libgit2 keeps decoded (it keeps no blobs): 8 MiB hold the trees of 10,000 files
/// (40 bytes per entry, 400 kB) of twenty revisions.
const CACHE_BYTES: isize = 8 << 20;
/// One mapped window of a pack.
const WINDOW_BYTES: usize = 4 << 20;
/// All mapped windows: sixteen; mapped pages count towards the resident size.
const MAPPED_BYTES: usize = 64 << 20;
/// Packs that are open at once, the least recently used is closed first: a mirror has one pack for each fetch, and the
/// fetch child has 512 descriptors.
const OPEN_PACKS: usize = 128;

/// Makes the settings; the result of the first call holds for the process.
///
/// # Errors
/// libgit2's words, when it refuses one.
pub(crate) fn prepare() -> Result<(), String> {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    DONE.get_or_init(|| settings().map_err(|error| error.message().to_owned())).clone()
}

#[expect(unsafe_code, reason = "libgit2's process-wide options; the caller runs this once, before any other use")]
fn settings() -> Result<(), git2::Error> {
    accepted(memory::bound())?;
    // SAFETY: `prepare` runs this once behind a OnceLock, and nothing of this crate uses libgit2 before it.
    unsafe {
        // The settings of the machine and of the user running us must not change what a mirror is.
        for level in [ConfigLevel::System, ConfigLevel::Global, ConfigLevel::XDG, ConfigLevel::ProgramData] {
            opts::set_search_path(level, "")?;
        }
        // Volumes often belong to another user (fsGroup). Nothing of a repository's settings is run by us.
        opts::set_verify_owner_validation(false)?;
        // Ids of a second format beside the objects change nothing about those.
        opts::set_extensions(&["compatobjectformat"])?;
        opts::set_cache_max_size(CACHE_BYTES)?;
        opts::set_mwindow_size(WINDOW_BYTES)?;
        opts::set_mwindow_mapped_limit(MAPPED_BYTES)?;
        opts::set_mwindow_file_limit(OPEN_PACKS)?;
    }
    opts::strict_hash_verification(true);
    opts::strict_object_creation(true);
    // SAFETY: the option takes one int (git2/common.h).
    let code = unsafe { libgit2_sys::git_libgit2_opts(libgit2_sys::GIT_OPT_ENABLE_FSYNC_GITDIR as c_int, 1 as c_int) };
    accepted(code)
}

/// Limits of the packs that this process indexes. For the fetch child, which handles one request.
#[expect(unsafe_code, reason = "git2 does not expose the options")]
pub(crate) fn limit_packs(objects: usize, object_bytes: usize) -> Result<(), git2::Error> {
    memory::allow(objects, object_bytes);
    // SAFETY: both options take one size_t (git2/common.h).
    unsafe {
        accepted(libgit2_sys::git_libgit2_opts(libgit2_sys::GIT_OPT_SET_PACK_MAX_OBJECTS as c_int, objects))?;
        accepted(libgit2_sys::git_libgit2_opts(libgit2_sys::GIT_OPT_SET_PACK_MAX_OBJECT_SIZE as c_int, object_bytes))
    }
}

fn accepted(code: c_int) -> Result<(), git2::Error> {
    if code < 0 { Err(git2::Error::from_str("libgit2 refuses an option")) } else { Ok(()) }
}
