//! One file for each method: find the document, ask [`vmtest_ide`], convert.
//!
//! A handler of a notification does everything before its first `.await`, if it has one: what comes after that is not in
//! order with the messages that follow.

pub(crate) mod did_change;
pub(crate) mod did_close;
pub(crate) mod did_open;
pub(crate) mod did_save;
pub(crate) mod initialize;
