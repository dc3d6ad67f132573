//! Real machines: what a run does, from kernel to verdict.

mod accelerator;
mod boot;
mod command;
mod files;
mod image;
mod kernel;
mod machine;
mod network;
mod output;
mod places;
mod reports;
mod select;
mod sharing;
mod shell;
mod snapshot;
mod stop;
mod verdicts;
