use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Condvar, Mutex};

use super::*;
use crate::publish::AHEAD;
use crate::reserve::RESERVE_BYTES;
use crate::storage::Storage;
use crate::storage::model::{Crash, Model};
use crate::{Durability, Entry, EntryKind, Hash, Log, LogKey};

const ORIGIN: &str = "writ.example/log";
/// Far above what any step takes; only a failing test waits so long.
const DEADLINE: Duration = Duration::from_secs(20);

/// A disk on which the sync of a body waits until the test lets it pass.
struct Gate {
    model: Arc<Model>,
    state: Mutex<Passes>,
    changed: Condvar,
}

#[derive(Default)]
struct Passes {
    allowed: usize,
    /// Syncs of bodies that came to the gate.
    arrived: usize,
}

impl Gate {
    fn new(model: Arc<Model>) -> Arc<Self> {
        Arc::new(Self { model, state: Mutex::default(), changed: Condvar::new() })
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.arrived += 1;
        let place = state.arrived;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |state| state.allowed < place).unwrap());
    }

    fn allow(&self, allowed: usize) {
        self.state.lock().unwrap().allowed = allowed;
        self.changed.notify_all();
    }

    /// Waits until this sync of a body waits at the gate; says whether it came.
    fn comes(&self, place: usize) -> bool {
        let state = self.state.lock().unwrap();
        let (state, _) = self.changed.wait_timeout_while(state, DEADLINE, |state| state.arrived < place).unwrap();
        state.arrived == place
    }
}

/// A test that fails must not leave the committer waiting at the gate.
struct Opened<'a>(&'a Gate);

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.0.allow(usize::MAX);
    }
}

impl Storage for Gate {
    fn sync(&self, path: &str) -> io::Result<()> {
        if path.starts_with("bodies/") {
            self.pass();
        }
        self.model.sync(path)
    }
    fn read(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        self.model.read(path, limit)
    }
    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.model.write(path, bytes)
    }
    fn make_parents(&self, path: &str) -> io::Result<()> {
        self.model.make_parents(path)
    }
    fn write_at(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.model.write_at(path, offset, bytes)
    }
    fn allocate(&self, path: &str, length: u64) -> io::Result<()> {
        self.model.allocate(path, length)
    }
    fn set_len(&self, path: &str, length: u64) -> io::Result<()> {
        self.model.set_len(path, length)
    }
    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.model.sync_dir(path)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.model.rename(from, to)
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.model.remove(path)
    }
    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.model.list(path)
    }
    fn length(&self, path: &str) -> io::Result<Option<u64>> {
        self.model.length(path)
    }
}

fn reverted() -> Entry {
    Entry::new(EntryKind::Revert, "2026-11-23T21:00:00Z")
}

fn append(log: &Log, body: Option<&[u8]>, durability: Durability) -> Result<u64, LogError> {
    log.append(&reverted(), body, None, durability).map(|receipt| receipt.index())
}

/// How many entries a power cut right now leaves.
fn left_by_a_power_cut(model: &Model, key: &str) -> u64 {
    let cut: Arc<dyn Storage> = model.after(Crash::Power);
    let key = LogKey::parse(key).unwrap();
    Log::open_on(cut, key, None, Duration::ZERO).unwrap().len()
}

/// Syncing bodies ahead may take seconds. What is appended meanwhile is synced after a few of them.
#[test]
fn appends_are_synced_while_bodies_are() {
    let model = Model::new();
    let gate = Gate::new(Arc::clone(&model));
    let key = LogKey::generate(ORIGIN).unwrap();
    let text = key.expose();
    let log = Log::open_on(Arc::clone(&gate) as Arc<dyn Storage>, key, None, Duration::ZERO).unwrap();
    let opened = Opened(&gate);
    // One more than the journal takes before it is settled, each with a body.
    let mut entry = reverted();
    entry.digests.insert("body".into(), Hash([0; 32]).to_string());
    let entry = entry.to_canonical_json().unwrap();
    let record = journal::Record { epoch: 1, index: 0, entry: &entry, body: &[0; 4000] };
    let count = SETTLE_AT / record.size() as u64 + 1;
    assert!(count as usize > 2 * AHEAD, "{count} bodies");
    for number in 0..count {
        let index = append(&log, Some(&[number as u8; 4000]), Durability::Synced).unwrap();
        if index + 1 < count {
            // The committer is done with it: what comes next finds it idle.
            log.prove(index).unwrap();
        }
    }
    assert!(gate.comes(1), "settling has begun");
    append(&log, None, Durability::Grouped).unwrap();
    assert_eq!(left_by_a_power_cut(&model, &text), count, "it is not synced yet");
    gate.allow(AHEAD);
    assert!(gate.comes(AHEAD + 1), "the second batch has begun");
    let left = left_by_a_power_cut(&model, &text);
    let (sender, receiver) = mpsc::channel();
    let waited = thread::scope(|scope| {
        let log = &log;
        scope.spawn(move || sender.send(append(log, None, Durability::Synced)));
        let written = Instant::now();
        while log.len() < count + 2 && written.elapsed() < DEADLINE {
            thread::yield_now();
        }
        gate.allow(2 * AHEAD);
        let waited: Result<_, RecvTimeoutError> = receiver.recv_timeout(DEADLINE);
        let begun = gate.comes(2 * AHEAD + 1);
        drop(opened);
        assert!(begun, "the third batch waits");
        waited
    });
    assert_eq!(left, count + 1, "what was grouped is synced between batches");
    assert_eq!(waited.unwrap().unwrap(), count + 1, "who waits does so for one batch");
    log.close().unwrap();
    let dir = tempfile::tempdir().unwrap();
    model.export(dir.path());
    let public = LogKey::parse(&text).unwrap().public().clone();
    assert_eq!(crate::verify_dir(dir.path(), &public, &[]).unwrap().entries, count + 2);
}

/// Where publishing writes some files and then finds no room, syncing ahead must not wait for it to succeed.
#[test]
fn who_waits_for_room_is_told_that_the_volume_is_full() {
    let model = Model::new();
    let key = LogKey::generate(ORIGIN).unwrap();
    let log = Log::open_on(Arc::clone(&model) as Arc<dyn Storage>, key, None, Duration::ZERO).unwrap();
    // Room for tiles once the reserve is used up, but not for a bundle.
    model.set_capacity(Some(model.used() - RESERVE_BYTES + 2000));
    let mut entry = reverted();
    entry.subject.insert("padding".into(), "x".repeat(9000));
    let (sender, receiver) = mpsc::channel();
    let told = thread::scope(|scope| {
        let (log, entry) = (&log, &entry);
        let fill = move || (0..20).find_map(|_| log.append(entry, None, None, Durability::Grouped).err());
        scope.spawn(move || sender.send(fill()));
        let told = receiver.recv_timeout(DEADLINE);
        model.set_capacity(None);
        told
    });
    let error = told.unwrap().unwrap();
    assert!(error.is_out_of_space(), "{error:?}");
    log.close().unwrap();
}
