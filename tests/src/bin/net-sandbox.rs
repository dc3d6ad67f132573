//! Runs a program in a network of its own, in which two servers answer: DNS on 127.0.0.1:53 and HTTP on 127.0.0.1:8080.
//!
//! The one name is `files.vmtest.test`, at 10.0.2.2: there QEMU's user network shows the host's loopback.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::Uid;

/// `files.vmtest.test` as DNS writes it.
const NAME: &[u8] = b"\x05files\x06vmtest\x04test\x00";
const ADDRESS: [u8; 4] = [10, 0, 2, 2];

fn main() -> ExitCode {
    enter_network();
    let dns = UdpSocket::bind("127.0.0.1:53").expect("the port of DNS is free here");
    let http = TcpListener::bind("127.0.0.1:8080").expect("the port is free here");
    let mut args = std::env::args_os().skip(1);
    let program = args.next().expect("usage: net-sandbox PROGRAM ARGUMENT...");
    std::thread::spawn(move || serve_dns(&dns));
    std::thread::spawn(move || http.incoming().flatten().for_each(|client| serve_http(&client)));
    let status = Command::new(program).args(args).status().expect("the program can be started");
    ExitCode::from(u8::try_from(status.code().unwrap_or(255)).unwrap_or(255))
}

fn enter_network() {
    let (uid, gid) = (Uid::effective(), nix::unistd::getegid());
    let mut flags = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    if !uid.is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags).expect("the kernel allows namespaces (sysctl kernel.unprivileged_userns_clone=1)");
    if !uid.is_root() {
        std::fs::write("/proc/self/setgroups", "deny").expect("it is our namespace");
        std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).expect("it is our namespace");
        std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")).expect("it is our namespace");
    }
    // What is mounted here stays here.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .expect("we are root here");
    let file = tempfile::NamedTempFile::new().expect("TMPDIR is writable");
    std::fs::write(&file, "nameserver 127.0.0.1\n").expect("it is our file");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .expect("it is our file");
    let target = Path::new("/etc/resolv.conf").canonicalize().expect("there is an /etc/resolv.conf");
    // The mount keeps the file when its name is gone.
    mount(Some(file.path()), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .expect("we are root here");
    switch_loopback_on();
}

fn switch_loopback_on() {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("any port");
    // SAFETY: all fields of an `ifreq` may be zero.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the kernel reads an `ifreq` from a pointer that is valid for the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// Answers every question (RFC 1035): the one name with its address, others and other types with nothing.
fn serve_dns(socket: &UdpSocket) {
    let mut query = [0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut query) {
        let Some(question_length) = query[12..length].iter().position(|byte| *byte == 0).map(|end| end + 5)
        else {
            continue;
        };
        let Some(question) = query[..length].get(12..12 + question_length) else { continue };
        let (name, kind) = question.split_at(question_length - 4);
        let known = name.eq_ignore_ascii_case(NAME);
        let answers = u8::from(known && kind[..2] == [0, 1]);
        let mut reply = query[..2].to_vec();
        // A response, recursion available; "no such name" for any other.
        reply.extend([0x81, if known { 0x80 } else { 0x83 }, 0, 1, 0, answers, 0, 0, 0, 0]);
        reply.extend(question);
        if answers == 1 {
            // The name is at offset 12; type A, class IN, a minute, four bytes.
            reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            reply.extend(ADDRESS);
        }
        let _ = socket.send_to(&reply, client);
    }
}

fn serve_http(mut client: &TcpStream) {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match client.read(&mut piece) {
            Ok(count @ 1..) => request.extend_from_slice(&piece[..count]),
            _ => return,
        }
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    let path = text.split_whitespace().nth(1).unwrap_or_default();
    let body = format!("hello over http {path}\n");
    let _ = write!(client, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
}
