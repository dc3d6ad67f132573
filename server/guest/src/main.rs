//! PID 1 inside a kernel target's VM.
//!
//! The same program plays two parts: as PID 1 it is the [`init`], which boots, parks and then carries out one job; told
//! to by its argument it is the [`session`], the process that becomes the command.

mod boot;
mod children;
mod init;
mod ioctl;
mod layers;
mod lost;
mod network;
mod ports;
mod pump;
mod root;
mod sentence;
mod session;
mod setup;

use std::ffi::OsString;

fn main() {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<_> = args.iter().map(|arg| arg.to_str()).collect();
    match words[..] {
        [Some(session::ARGUMENT), Some(status_fd), Some(kind), ..] => {
            session::main(status_fd, kind, args.get(3).map(OsString::as_os_str));
        }
        _ if std::process::id() == 1 => init::main(),
        _ => eprintln!("vmtest-guest is started by vmtest, inside its virtual machines"),
    }
}
