//! What vmtest itself takes beside QEMU.

use super::Subject;
use crate::bench::{Bench, Run};
use crate::figure::{Budget, Figure, Unit};
use crate::process::Usage;

/// Of vmtest's share of the processor time, in percent.
const CPU: Budget = Budget::AtMost(2.0);

pub(super) fn subjects(bench: &Bench) -> Vec<Subject<'_>> {
    let kernel = &bench.stock().path;
    vec![
        Subject::new(move || Ok(figures("cold run of `uname -r`", &bench.uname(kernel, &["--cold"])?.usage))),
        Subject::new(move || {
            let run = bench.uname(kernel, &[]).and_then(Run::resumed)?;
            Ok(figures("run of `uname -r` in a kept guest", &run.usage))
        }),
    ]
}

/// vmtest's own processor time and memory in a run.
pub(super) fn figures(section: &str, usage: &Usage) -> Vec<Figure> {
    let share = 100.0 * usage.own_cpu / (usage.own_cpu + usage.children_cpu);
    vec![
        Figure::new(section, "processor time of vmtest", Unit::Seconds, usage.own_cpu),
        Figure::new(section, "processor time of QEMU", Unit::Seconds, usage.children_cpu).of_another(),
        Figure::new(section, "vmtest's part of both", Unit::Percent, share).within(CPU),
        Figure::new(section, "memory of vmtest at most", Unit::Megabytes, usage.memory),
    ]
}
