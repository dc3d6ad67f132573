//! The GitHub Action: its steps, one after the other, with a runner's environment and files; and the shape of the workflows.

mod expression;
mod inputs;
mod install;
mod matrix;
mod runner;
mod runs;
mod shape;
