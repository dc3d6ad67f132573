//! Who carries out targets.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use vmtest_config::Target;
use vmtest_vm::event::{Durations, Finished, LostWrites};
use vmtest_vm::executor::{Executor, TargetIo};
use vmtest_vm::verdict::{Failure, Verdict};

/// What the command line says about how machines are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Boot every kernel instead of resuming a kept state.
    pub(crate) cold: bool,
}

/// The executor of this build.
pub(crate) fn executor(options: Options) -> Arc<dyn Executor> {
    Arc::new(Missing { _options: options })
}

/// Stands where the executor that drives QEMU will.
struct Missing {
    _options: Options,
}

impl Executor for Missing {
    fn execute<'a>(
        &'a self,
        _: &'a Target,
        _: TargetIo,
    ) -> Pin<Box<dyn Future<Output = Finished> + Send + 'a>> {
        Box::pin(async {
            let failure = Failure {
                reason: "this build of vmtest cannot start machines".to_owned(),
                ..Failure::default()
            };
            Finished {
                verdict: Verdict::BootFailed(failure),
                durations: Durations::default(),
                lost_writes: LostWrites::default(),
            }
        })
    }
}
