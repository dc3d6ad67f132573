//! Real machines: what a run does, from kernel to verdict.

mod accelerator;
mod boot;
mod bpf;
mod command;
mod downloads;
mod fake_qemu;
mod files;
mod image;
mod kernel;
mod machine;
mod network;
mod newer_qemu;
mod output;
mod places;
mod reports;
mod select;
mod shares;
mod sharing;
mod shell;
mod snapshot;
mod stop;
mod untrusted;
mod verdicts;
