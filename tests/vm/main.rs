//! Real machines: what a run does, from kernel to verdict.

mod accelerator;
mod boot;
mod bpf;
mod command;
mod downloads;
mod files;
mod image;
mod kernel;
mod machine;
mod network;
mod newer_qemu;
mod output;
mod places;
mod pressure;
mod reports;
mod select;
mod sharing;
mod shell;
mod snapshot;
mod splat;
mod stop;
mod verdicts;
