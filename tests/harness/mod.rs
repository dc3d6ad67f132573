pub mod clean;
pub mod machine;
mod outcome;
pub mod pattern;
mod project;
mod pty;
mod running;
mod slots;

pub use outcome::Outcome;
pub use project::{Invocation, Project, target, with_kernels};
pub use pty::Pty;
pub use running::{LIMIT, Running};
