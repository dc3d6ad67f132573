//! What an editor shows for the text of a `vmtest.toml`.
//!
//! Pure: text and what is known of the machine go in, plain values with byte ranges come out. [`Analysis`] is one text;
//! every feature is a method of it, in a module of its own. What the file *means* is [`vmtest_config`]'s to say: this
//! crate adds places, cures and looks.
#![forbid(unsafe_code)]

mod analysis;
mod completion;
mod context;
mod edit;
mod facts;
mod fixes;
mod folds;
mod format;
mod hints;
mod hover;
mod lenses;
mod links;
mod lints;
mod model;
mod problems;
mod scan;
mod scope;
mod shell;
mod surroundings;
mod symbols;
mod tokens;

pub use analysis::{Analysis, TargetOutline};
pub use completion::{Completion, CompletionKind};
pub use edit::Edit;
pub use fixes::QuickFix;
pub use folds::Fold;
pub use hints::InlayHint;
pub use hover::Hover;
pub use lenses::{Lens, LensAction, RunState, TargetRef};
pub use links::{Link, LinkTarget};
pub use surroundings::{DirectoryEntry, KernelFact, Surroundings};
pub use symbols::{Symbol, SymbolKind};
pub use tokens::{Token, TokenKind};
pub use vmtest_config::{Fix, Problem, Severity};
