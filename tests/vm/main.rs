//! Real machines: what a run does, from kernel to verdict.

mod verdicts;
