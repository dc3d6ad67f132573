//! Several targets at once, each in a guest that was kept.

use std::fmt::Write as _;
use std::fs;

use super::Subject;
use crate::bench::{self, Bench, EVENTS};
use crate::figure::{Figure, Unit};
use crate::{Result, Saying as _};

pub(super) fn subjects(bench: &Bench) -> Result<Vec<Subject<'_>>> {
    let folder = bench.folder("parallel")?;
    let mut subjects = Vec::new();
    for count in [1_usize, 2, 4] {
        let mut toml = String::new();
        for number in 0..count {
            let kernel = bench.stock().path.display();
            let _ =
                writeln!(toml, "[[target]]\nname = '{number}'\nkernel = '{kernel}'\ncommand = 'uname -r'");
        }
        let file = folder.join(format!("{count}.toml"));
        fs::write(&file, toml).saying(file.display())?;
        let jobs = count.to_string();
        subjects.push(Subject::new(move || {
            let run =
                bench::run(bench.vmtest().args(EVENTS).args(["-j", &jobs, "-c"]).arg(&file))?.resumed()?;
            let name = if count == 1 { "1 target".to_owned() } else { format!("{count} targets") };
            let figure =
                Figure::new("from the start to the last end", name, Unit::Seconds, run.usage.seconds);
            Ok(vec![if count == 1 { figure } else { figure.times_of("1 target") }])
        }));
    }
    Ok(subjects)
}
