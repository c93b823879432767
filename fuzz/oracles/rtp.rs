//! What is parsed lies inside the datagram, and writing and parsing it again changes nothing.

use apiary_wire::rtp::RtpPacket;

pub(crate) fn check(data: &[u8]) {
    let Ok(packet) = RtpPacket::parse(data) else {
        return;
    };
    assert!(packet.header_len() + packet.payload.len() <= data.len());
    if let Some(extension) = packet.extension {
        let elements: usize = extension.elements().map(|(_, data)| data.len() + 1).sum();
        assert!(elements <= extension.data.len());
    }
    let mut written = Vec::new();
    packet.write(&mut written);
    assert_eq!(written.len(), packet.header_len() + packet.payload.len());
    assert_eq!(RtpPacket::parse(&written), Ok(packet));
}
