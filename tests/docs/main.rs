//! What the documents say, where a program can tell whether it is so.

mod commands;
mod links;
mod page;
mod reliability;
mod version;
