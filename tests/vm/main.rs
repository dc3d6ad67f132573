//! Real machines: what a run does, from kernel to verdict.

mod accelerator;
mod boot;
mod bpf;
mod command;
mod downloads;
mod fake_qemu;
mod files;
mod forgery;
mod image;
mod kernel;
mod machine;
mod network;
mod newer_qemu;
mod output;
mod places;
mod reports;
mod sandbox;
mod select;
mod sharing;
mod shell;
mod snapshot;
mod stop;
mod verdicts;
