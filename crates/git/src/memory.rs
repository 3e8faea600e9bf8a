//! How much memory libgit2 may ask for at once. It makes a whole object in memory, and the whole object that one is
//! stored as a difference to, before anybody can ask how large that is: a commit of 200 bytes may stand on one of a
//! gigabyte. Here such a request is refused, whichever way it came about.

use std::{
    ffi::{c_char, c_int, c_void},
    ptr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use crate::remote::Limits;

/// What an allocation for an object has beside it: a closing byte, and the header of a loose object.
const BESIDE_OBJECT: usize = 1 << 10;
/// The largest allocation: the largest object that a fetch lets into a mirror. Whoever reads only has nothing larger:
/// indexes and packs are mapped, and a folder of a hundred packs is a list of a few kilobytes.
#[expect(clippy::cast_possible_truncation, reason = "32 MiB")]
const LARGEST: usize = Limits::OBJECT_BYTES as usize + BESIDE_OBJECT;
/// The largest table of the indexer, per object, in bytes: a map of ids and entries (16), which is half empty at worst
/// and doubles; rounded up. The largest of the pack builder is one of 200,000 entries (128), which grows by half: 38 MB, fewer
/// than a million objects need.
const TABLE_PER_OBJECT: usize = 48;

static LIMIT: AtomicUsize = AtomicUsize::new(LARGEST);
static REFUSED: AtomicBool = AtomicBool::new(false);

/// `git_allocator` of git2/sys/alloc.h.
#[repr(C)]
struct Allocator {
    allocate: unsafe extern "C" fn(usize, *const c_char, c_int) -> *mut c_void,
    resize: unsafe extern "C" fn(*mut c_void, usize, *const c_char, c_int) -> *mut c_void,
    release: unsafe extern "C" fn(*mut c_void),
}

/// Makes libgit2 allocate as it does by itself, up to the limit. Before any other use.
#[expect(unsafe_code, reason = "git2 does not expose the option")]
pub(crate) fn bound() -> c_int {
    let mut allocator = Allocator { allocate, resize, release };
    // SAFETY: the option takes a pointer to a git_allocator, which it copies. What was allocated before came from the
    // same malloc.
    unsafe { libgit2_sys::git_libgit2_opts(libgit2_sys::GIT_OPT_SET_ALLOCATOR as c_int, ptr::from_mut(&mut allocator)) }
}

/// For the fetch child, which makes tables of the objects it indexes and has other limits.
pub(crate) fn allow(objects: usize, object_bytes: usize) {
    let tables = objects.saturating_mul(TABLE_PER_OBJECT);
    LIMIT.store(object_bytes.saturating_add(BESIDE_OBJECT).max(tables).max(LARGEST), Ordering::Relaxed);
}

/// Whether an allocation was refused since the last question.
pub(crate) fn refused() -> bool {
    REFUSED.swap(false, Ordering::Relaxed)
}

fn allowed(size: usize) -> bool {
    let allowed = size <= LIMIT.load(Ordering::Relaxed);
    if !allowed {
        REFUSED.store(true, Ordering::Relaxed);
    }
    allowed
}

#[expect(unsafe_code, reason = "called by libgit2")]
unsafe extern "C" fn allocate(size: usize, _file: *const c_char, _line: c_int) -> *mut c_void {
    // SAFETY: malloc takes any size.
    if allowed(size) { unsafe { libc::malloc(size) } } else { ptr::null_mut() }
}

#[expect(unsafe_code, reason = "called by libgit2")]
unsafe extern "C" fn resize(old: *mut c_void, size: usize, _file: *const c_char, _line: c_int) -> *mut c_void {
    // SAFETY: libgit2 passes what `allocate` or this function returned, or null.
    if allowed(size) { unsafe { libc::realloc(old, size) } } else { ptr::null_mut() }
}

#[expect(unsafe_code, reason = "called by libgit2")]
unsafe extern "C" fn release(old: *mut c_void) {
    // SAFETY: libgit2 passes what `allocate` or `resize` returned, or null.
    unsafe { libc::free(old) }
}
