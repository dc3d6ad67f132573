//! The system calls that have no safe wrapper, each behind a safe function.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

use nix::libc;

/// Adds `bytes` to the kernel's random pool, credits them in full, and makes the generator use them at once.
///
/// Crediting alone leaves a resumed guest's generator as it was; only the reseed changes what comes next.
pub(crate) fn add_entropy(random: &File, bytes: &[u8]) -> io::Result<()> {
    const RNDADDENTROPY: libc::c_ulong = 0x4008_5203;
    const RNDRESEEDCRNG: libc::c_ulong = 0x5207;
    // struct rand_pool_info of random.h: entropy in bits, size in bytes, the bytes.
    let mut info = Vec::with_capacity(8 + bytes.len());
    info.extend_from_slice(&(bytes.len() as i32 * 8).to_ne_bytes());
    info.extend_from_slice(&(bytes.len() as i32).to_ne_bytes());
    info.extend_from_slice(bytes);
    // SAFETY: `info` is a whole rand_pool_info with `buf_size` bytes behind it, and lives through the call.
    check(unsafe { libc::ioctl(random.as_raw_fd(), RNDADDENTROPY as _, info.as_ptr()) })?;
    // SAFETY: this request takes no argument.
    check(unsafe { libc::ioctl(random.as_raw_fd(), RNDRESEEDCRNG as _, 0) })
}

/// Sets a terminal's size.
pub(crate) fn set_window_size(terminal: &File, rows: u16, cols: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) })
}

/// How many bytes wait to be read.
pub(crate) fn bytes_waiting(pipe: &File) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int.
    let result = check(unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut count) });
    if result.is_ok() { usize::try_from(count).unwrap_or(0) } else { 0 }
}

/// Sets an interface's IPv4 address and netmask.
pub(crate) fn set_address(
    socket: &impl std::os::fd::AsRawFd,
    name: &str,
    address: [u8; 4],
    mask: [u8; 4],
) -> io::Result<()> {
    for (request, value) in [(libc::SIOCSIFADDR, address), (libc::SIOCSIFNETMASK, mask)] {
        let mut request_data = interface(name);
        request_data.ifr_ifru.ifru_addr = internet_address(value);
        // SAFETY: both requests read one ifreq.
        check(unsafe { libc::ioctl(socket.as_raw_fd(), request as _, &raw const request_data) })?;
    }
    Ok(())
}

/// Sets an Ethernet interface's hardware address.
pub(crate) fn set_hardware_address(
    socket: &impl std::os::fd::AsRawFd,
    name: &str,
    address: [u8; 6],
) -> io::Result<()> {
    let mut request = interface(name);
    let mut data = [0; 14];
    for (to, from) in data.iter_mut().zip(address) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_hwaddr = libc::sockaddr { sa_family: libc::ARPHRD_ETHER, sa_data: data };
    // SAFETY: SIOCSIFHWADDR reads one ifreq.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFHWADDR as _, &raw const request) })
}

/// Switches an interface on.
pub(crate) fn set_up(socket: &impl std::os::fd::AsRawFd, name: &str) -> io::Result<()> {
    let mut request = interface(name);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) })
}

/// Makes `gateway` the default route.
pub(crate) fn add_default_route(socket: &impl std::os::fd::AsRawFd, gateway: [u8; 4]) -> io::Result<()> {
    // SAFETY: all-zero is a valid rtentry.
    let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
    route.rt_dst = internet_address([0; 4]);
    route.rt_genmask = internet_address([0; 4]);
    route.rt_gateway = internet_address(gateway);
    route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
    // SAFETY: SIOCADDRT reads one rtentry.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCADDRT as _, &raw const route) })
}

fn interface(name: &str) -> libc::ifreq {
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays 0, as the kernel wants it.
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name[..room].iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request
}

fn internet_address(address: [u8; 4]) -> libc::sockaddr {
    let mut data = [0; 14];
    // sockaddr_in: two bytes of port, four of address.
    for (to, from) in data[2..6].iter_mut().zip(address) {
        *to = from as libc::c_char;
    }
    libc::sockaddr { sa_family: libc::AF_INET as libc::sa_family_t, sa_data: data }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
