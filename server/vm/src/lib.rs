//! One target from kernel to verdict.

pub mod event;
pub mod executor;
pub mod runner;
pub mod verdict;
