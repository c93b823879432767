//! A Kurento to try things with: `cargo run -p apiary-kurento-double --example kurento [PORT]`, and then
//! `APIARY_MEDIA_ENGINE=kurento apiary serve`. Ctrl-C ends it.
#![allow(clippy::print_stdout, reason = "it says where it is")]

use std::error::Error;
use std::net::Ipv4Addr;

use apiary_kurento_double::{KurentoDouble, Options};

fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args()
        .nth(1)
        .map_or(Ok(8888), |port| port.parse())?;
    let double = KurentoDouble::start(Options {
        port,
        ..Options::at(Ipv4Addr::LOCALHOST)
    })?;
    println!("A double of Kurento listens at {}.", double.url());
    loop {
        std::thread::park();
    }
}
