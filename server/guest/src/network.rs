//! The guest's network: the loopback interface, and QEMU's user-mode card where the target asks for it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::UdpSocket;

use vmtest_guest::wire::Network;

use crate::ioctl;
use crate::sentence::{Result, Saying as _};

/// Switches `lo` on, which many tests take for granted.
pub(crate) fn bring_loopback_up() -> Result<()> {
    ioctl::set_up(&control_socket()?, "lo").saying("cannot switch the interface lo on")
}

/// Gives the card its address and route. QEMU's DHCP server would answer the same, a second later.
pub(crate) fn configure_card(network: &Network) -> Result<()> {
    let card = card().ok_or(
        "the guest has no network card: the kernel needs CONFIG_VIRTIO_NET, built in or as a module that vmtest can find",
    )?;
    let mask = u32::MAX.checked_shl(32 - u32::from(network.prefix)).unwrap_or(0).to_be_bytes();
    let socket = control_socket()?;
    // Before it is switched on: a card that runs keeps what it has.
    hardware_address()
        .and_then(|address| ioctl::set_hardware_address(&socket, &card, address))
        .saying(format_args!("cannot give {card} a hardware address"))?;
    ioctl::set_address(&socket, &card, network.address, mask)
        .saying(format_args!("cannot give {card} an address"))?;
    ioctl::set_up(&socket, &card).saying(format_args!("cannot switch {card} on"))?;
    ioctl::add_default_route(&socket, network.gateway).saying("cannot set the default route")
}

/// The text of a resolv.conf.
pub(crate) fn resolv_conf(network: &Network) -> String {
    let [a, b, c, d] = network.dns;
    format!("# written by vmtest\nnameserver {a}.{b}.{c}.{d}\n")
}

/// One of this guest's own: every card of QEMU's has the same, and guests that are resumed from one kept guest share all that
/// is not drawn anew.
fn hardware_address() -> io::Result<[u8; 6]> {
    let mut address = [0x52, 0x54, 0, 0, 0, 0];
    File::open("/dev/urandom")?.read_exact(&mut address[3..])?;
    Ok(address)
}

/// The first interface that has a device behind it.
fn card() -> Option<String> {
    let mut names: Vec<String> = fs::read_dir("/sys/class/net")
        .ok()?
        .flatten()
        .filter(|interface| interface.path().join("device").exists())
        .filter_map(|interface| interface.file_name().into_string().ok())
        .collect();
    names.sort();
    names.into_iter().next()
}

fn control_socket() -> Result<UdpSocket> {
    // Port 0 of no address: nothing is bound that a test could want, and `lo` need not be up.
    UdpSocket::bind(("0.0.0.0", 0)).saying("cannot configure the network (the kernel needs CONFIG_INET=y)")
}
