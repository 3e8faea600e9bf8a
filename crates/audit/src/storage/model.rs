//! A file system in memory that knows what would survive a kill and a power cut, and that fails on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use super::Storage;

/// What happens to what was not synced.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Crash {
    /// The process dies: the kernel keeps everything.
    Kill,
    /// Everything unsynced is lost.
    Power,
    /// Any part of it is lost: sectors and names by the toss of a coin.
    Torn(u64),
}

#[derive(Default, Clone)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Default, Clone)]
struct Disk {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    dirs: BTreeSet<String>,
    durable_dirs: BTreeSet<String>,
    operations: u64,
    syncs: u64,
    /// From this operation on everything fails: the machine is gone.
    crash_at: Option<u64>,
    /// From this operation until that one, this error.
    fault: Option<(u64, u64, io::ErrorKind)>,
    capacity: Option<u64>,
}

#[derive(Default)]
pub(crate) struct Model(Mutex<Disk>);

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Model {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }

    pub(crate) fn crash_at(&self, operation: u64) {
        let mut disk = self.disk();
        disk.crash_at = Some(disk.operations + operation);
    }

    pub(crate) fn fail(&self, from: u64, count: u64, kind: io::ErrorKind) {
        let mut disk = self.disk();
        let from = disk.operations + from;
        disk.fault = Some((from, from.saturating_add(count), kind));
    }

    pub(crate) fn set_capacity(&self, capacity: Option<u64>) {
        self.disk().capacity = capacity;
    }

    pub(crate) fn used(&self) -> u64 {
        self.disk().used()
    }

    pub(crate) fn operations(&self) -> u64 {
        self.disk().operations
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.disk().syncs
    }

    /// The file system as it is found after the crash.
    pub(crate) fn after(&self, crash: Crash) -> Arc<Self> {
        let mut disk = self.disk().clone();
        (disk.crash_at, disk.fault) = (None, None);
        let mut random = if let Crash::Torn(seed) = crash { seed | 1 } else { 1 };
        let mut coin = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random & 1 == 0
        };
        let keep = |coin: &mut dyn FnMut() -> bool| match crash {
            Crash::Kill => true,
            Crash::Power => false,
            Crash::Torn(_) => coin(),
        };
        let mut names = BTreeMap::new();
        let all: BTreeSet<String> = disk.names.keys().chain(disk.durable_names.keys()).cloned().collect();
        for path in all {
            let (now, durable) = (disk.names.get(&path), disk.durable_names.get(&path));
            let inode = if now == durable || keep(&mut coin) { now } else { durable };
            if let Some(inode) = inode {
                names.insert(path, *inode);
            }
        }
        let mut dirs = disk.durable_dirs.clone();
        for dir in &disk.dirs {
            let above = parent(dir).is_empty() || dirs.contains(parent(dir));
            if above && !dirs.contains(dir) && keep(&mut coin) {
                dirs.insert(dir.clone());
            }
        }
        dirs.retain(|dir| disk.dirs.contains(dir));
        let reachable = |path: &str| super::parents(path).all(|dir| dir.is_empty() || dirs.contains(dir));
        names.retain(|path, _| reachable(path));
        let named: BTreeSet<usize> = names.values().copied().collect();
        for (number, inode) in disk.inodes.iter_mut().enumerate() {
            if !named.contains(&number) {
                *inode = Inode::default();
            } else if inode.now != inode.durable {
                let bytes = inode.torn(&mut || keep(&mut coin));
                *inode = Inode { now: bytes.clone(), durable: bytes };
            }
        }
        (disk.names, disk.durable_names) = (names.clone(), names);
        (disk.dirs, disk.durable_dirs) = (dirs.clone(), dirs);
        Arc::new(Self(Mutex::new(disk)))
    }

    /// Writes everything to a real directory, but for the reserve, which holds nothing.
    pub(crate) fn export(&self, dir: &Path) {
        let disk = self.disk();
        for (path, inode) in disk.names.iter().filter(|(path, _)| *path != "reserve") {
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &disk.inodes[*inode].now).unwrap();
        }
    }
}

impl Inode {
    /// Some length it had, and each sector as it was at some time.
    fn torn(&self, keep: &mut dyn FnMut() -> bool) -> Vec<u8> {
        let length = if keep() { self.now.len() } else { self.durable.len() };
        let mut bytes = vec![0; length];
        // Large files are zeros for the most part: larger sectors are as good.
        let sector = if length > 1 << 20 { 1 << 20 } else { 512 };
        for (number, chunk) in bytes.chunks_mut(sector).enumerate() {
            let source = if keep() { &self.now } else { &self.durable };
            let from = source.get(number * sector..).unwrap_or_default();
            let part = &from[..from.len().min(chunk.len())];
            chunk[..part.len()].copy_from_slice(part);
        }
        bytes
    }
}

impl Disk {
    fn used(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[*inode].now.len() as u64).sum()
    }

    /// Counts an operation; `Err` when it must fail, saying whether half of a write still happens.
    fn step(&mut self, writes: bool) -> Result<(), (io::Error, bool)> {
        self.operations += 1;
        if self.crash_at.is_some_and(|at| self.operations >= at) {
            return Err((io::Error::other("crashed"), self.crash_at == Some(self.operations)));
        }
        match self.fault {
            Some((from, to, kind)) if (from..to).contains(&self.operations) && writes => Err((kind.into(), true)),
            _ => Ok(()),
        }
    }

    fn create(&mut self, path: &str) -> usize {
        self.dirs.extend(super::parents(path).filter(|dir| !dir.is_empty()).map(str::to_owned));
        if let Some(inode) = self.names.get(path) {
            return *inode;
        }
        self.inodes.push(Inode::default());
        self.names.insert(path.to_owned(), self.inodes.len() - 1);
        self.inodes.len() - 1
    }

    fn existing(&self, path: &str) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn put(&mut self, inode: usize, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let (step, half) = match self.step(true) {
            Ok(()) => (Ok(()), false),
            Err((error, half)) => (Err(error), half),
        };
        let mut bytes = match (&step, half) {
            (Ok(()), _) => bytes,
            (Err(_), true) => &bytes[..bytes.len() / 2],
            (Err(_), false) => &[],
        };
        let length = self.inodes[inode].now.len();
        let growth = (offset + bytes.len()).saturating_sub(length) as u64;
        let room = self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()));
        let full = growth > room;
        if full {
            bytes = &bytes[..bytes.len() - (growth - room) as usize];
        }
        let now = &mut self.inodes[inode].now;
        now.resize(now.len().max(offset + bytes.len()), 0);
        now[offset..offset + bytes.len()].copy_from_slice(bytes);
        step?;
        if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Storage for Model {
    fn read(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let disk = self.disk();
        let bytes = disk.names.get(path).map(|inode| disk.inodes[*inode].now.clone());
        assert!(bytes.as_ref().is_none_or(|bytes| bytes.len() as u64 <= limit));
        Ok(bytes)
    }

    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk();
        if disk.crash_at.is_some_and(|at| disk.operations + 1 >= at) {
            disk.step(true).map_err(|(error, _)| error)?;
        }
        let inode = disk.create(path);
        disk.inodes[inode].now.clear();
        disk.put(inode, 0, bytes)
    }

    fn make_parents(&self, path: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step(true).map_err(|(error, _)| error)?;
        disk.dirs.extend(super::parents(path).filter(|dir| !dir.is_empty()).map(str::to_owned));
        Ok(())
    }

    fn write_at(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk();
        let inode = disk.existing(path)?;
        disk.put(inode, offset as usize, bytes)
    }

    fn allocate(&self, path: &str, length: u64) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step(true).map_err(|(error, _)| error)?;
        let inode = disk.create(path);
        let growth = length.saturating_sub(disk.inodes[inode].now.len() as u64);
        if disk.capacity.is_some_and(|capacity| disk.used() + growth > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let now = &mut disk.inodes[inode].now;
        now.resize(now.len().max(length as usize), 0);
        Ok(())
    }

    fn set_len(&self, path: &str, length: u64) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step(true).map_err(|(error, _)| error)?;
        let inode = disk.existing(path)?;
        disk.inodes[inode].now.resize(length as usize, 0);
        Ok(())
    }

    fn sync(&self, path: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step(true).map_err(|(error, _)| error)?;
        disk.syncs += 1;
        let inode = disk.existing(path)?;
        let inode = &mut disk.inodes[inode];
        inode.durable.clone_from(&inode.now);
        Ok(())
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step(true).map_err(|(error, _)| error)?;
        let disk = &mut *disk;
        disk.durable_names.retain(|name, _| parent(name) != path);
        let names = disk.names.iter().filter(|(name, _)| parent(name) == path);
        disk.durable_names.extend(names.map(|(name, inode)| (name.clone(), *inode)));
        disk.durable_dirs.extend(disk.dirs.iter().filter(|dir| parent(dir) == path).cloned());
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step(true).map_err(|(error, _)| error)?;
        if !parent(to).is_empty() && !disk.dirs.contains(parent(to)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inode = disk.existing(from)?;
        disk.names.remove(from);
        disk.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step(true).map_err(|(error, _)| error)?;
        disk.names.remove(path);
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let disk = self.disk();
        let names = disk.names.keys().filter(|name| parent(name) == path);
        Ok(names.map(|name| name.rsplit('/').next().unwrap().to_owned()).collect())
    }

    fn length(&self, path: &str) -> io::Result<Option<u64>> {
        let disk = self.disk();
        if disk.dirs.contains(path) {
            return Ok(Some(0));
        }
        Ok(disk.names.get(path).map(|inode| disk.inodes[*inode].now.len() as u64))
    }
}
