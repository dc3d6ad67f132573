//! How many virtual machines this computer can run at once.

use std::num::NonZero;
use std::path::Path;

use vmtest_config::Target;

/// The number of `targets` to run at once: what `-j auto` means.
pub fn auto(targets: &[Target]) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let largest = targets.iter().map(|target| target.vm.memory.bytes).max().unwrap_or(0);
    at_once(processors, available_memory(), largest)
}

/// As many as there are processors, and no more than fit into memory; at least one.
fn at_once(processors: usize, available: Option<u64>, largest: u64) -> usize {
    let fit = match available {
        Some(available) if largest > 0 => usize::try_from(available / largest).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    processors.min(fit).max(1)
}

/// What the machine, and the container that we may be in, can still give.
fn available_memory() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| mem_available(&text));
    let container = std::fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| {
        let group = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let folder = Path::new("/sys/fs/cgroup").join(group);
        let number = |name: &str| std::fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
        Some(number("memory.max")?.saturating_sub(number("memory.current")?))
    });
    machine.into_iter().chain(container).min()
}

fn mem_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn auto_is_bounded_by_processors_and_by_memory() {
        assert_eq!(at_once(8, Some(64 * GIB), 4 * GIB), 8);
        assert_eq!(at_once(8, Some(15 * GIB), 4 * GIB), 3);
        assert_eq!(at_once(8, None, 4 * GIB), 8);
    }

    #[test]
    fn auto_is_never_none() {
        assert_eq!(at_once(8, Some(GIB), 4 * GIB), 1);
    }

    #[test]
    fn available_memory_is_read_from_meminfo() {
        assert_eq!(mem_available("MemTotal:  9 kB\nMemAvailable:   2048 kB\n"), Some(2 << 20));
        assert_eq!(mem_available("MemTotal:  9 kB\n"), None);
    }
}
