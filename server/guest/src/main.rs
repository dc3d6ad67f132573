//! PID 1 inside a kernel target's VM.
//!
//! The same program plays two parts: as PID 1 it is the [`init`], which boots, parks and then carries out one job; told
//! to by its argument it is the [`session`], the process that enters the job's root and becomes the command.

mod boot;
mod children;
mod init;
mod ioctl;
mod lost;
mod network;
mod ports;
mod pump;
mod sentence;
mod session;
mod setup;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [session::ARGUMENT, root, status_fd] => session::main(root == session::OVERLAY, status_fd),
        _ if std::process::id() == 1 => init::main(),
        _ => eprintln!("vmtest-guest is started by vmtest, inside its virtual machines"),
    }
}
