//! Bounds the machines that run at once: in this process by a count, among processes by locked files.

use std::fs::File;
use std::sync::{Condvar, Mutex};

use super::machine;

/// How many machines run at once.
const SLOTS: usize = 2;

static FREE: Mutex<[bool; SLOTS]> = Mutex::new([true; SLOTS]);
static CHANGED: Condvar = Condvar::new();

/// The right to run machines.
#[derive(Debug)]
pub(super) struct Permit {
    slots: Vec<usize>,
    _locks: Vec<File>,
}

impl Permit {
    /// For one machine.
    pub(super) fn for_one() -> Self {
        Self::take(1)
    }

    /// For many: while it is held, nobody else runs any.
    pub(super) fn for_all() -> Self {
        Self::take(SLOTS)
    }

    fn take(count: usize) -> Self {
        let mut free = FREE.lock().expect("no holder panics");
        let slots: Vec<usize> = loop {
            let found: Vec<usize> = (0..SLOTS).filter(|slot| free[*slot]).take(count).collect();
            if found.len() == count {
                break found;
            }
            free = CHANGED.wait(free).expect("no holder panics");
        };
        for slot in &slots {
            free[*slot] = false;
        }
        drop(free);
        // In ascending order, so that two processes that want all of them do not wait for each other.
        let locks = slots.iter().map(|slot| lock(*slot)).collect();
        Self { slots, _locks: locks }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut free = FREE.lock().expect("no holder panics");
        for slot in &self.slots {
            free[*slot] = true;
        }
        CHANGED.notify_all();
    }
}

/// Waits for another test process; the lock goes with the file.
fn lock(slot: usize) -> File {
    let path = machine::slot_dir().join(slot.to_string());
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()));
    file.lock().unwrap_or_else(|error| panic!("cannot lock {}: {error}", path.display()));
    file
}
