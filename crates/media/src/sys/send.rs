//! Many packets to many addresses with one system call.
//!
//! Packets to one address that follow each other leave as one run that the kernel or the network card cuts up
//! (`UDP_SEGMENT`, udp(7)), which costs a fraction of a call per packet.

use std::io;
use std::mem;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::AsRawFd;

use super::address::RawAddress;

/// Segments of one run: `UDP_MAX_SEGMENTS` of older kernels.
const MAX_SEGMENTS: usize = 64;
/// Octets of one run: below what an IPv4 datagram with its headers can say.
const MAX_RUN: usize = 65_000;
/// Messages from which on the batch wants to be flushed.
const FULL_MESSAGES: usize = 60;
/// Octets from which on the batch wants to be flushed.
const FULL_OCTETS: usize = 400 * 1024;
/// Messages of one system call.
const MESSAGES_PER_CALL: usize = 64;

/// Packets that wait to be sent together. Bounded by its user, who flushes when it [is full](Self::is_full).
pub struct SendBatch {
    /// Written front to back and never cleared, as clearing would cost as much as half of the sealing.
    buffer: Vec<u8>,
    /// Octets of the buffer that hold packets.
    used: usize,
    runs: Vec<Run>,
    messages: Messages,
    gso: bool,
}

/// Adjacent packets to one address: all `segment` octets long but the last, which may be shorter.
#[derive(Clone)]
struct Run {
    destination: SocketAddr,
    octets: Range<usize>,
    segment: usize,
}

/// What a flush did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Flushed {
    /// Packets that the kernel took.
    pub sent_packets: u64,
    /// Their octets without UDP and IP headers.
    pub sent_octets: u64,
    /// Packets that it did not take: no room in the socket, or no way to their address.
    pub dropped_packets: u64,
}

/// The control message that makes a message a run. Laid out as `CMSG_DATA` wants it: the header's size is a multiple
/// of its alignment, so the value follows it directly.
#[repr(C)]
#[derive(Clone, Copy)]
struct SegmentControl {
    header: libc::cmsghdr,
    segment: u16,
}

impl SendBatch {
    /// An empty batch; `gso` says whether to try runs at all.
    pub fn new(gso: bool) -> Self {
        Self {
            buffer: vec![0; FULL_OCTETS + MAX_RUN],
            used: 0,
            runs: Vec::with_capacity(MESSAGES_PER_CALL),
            messages: Messages::new(),
            gso,
        }
    }

    /// A place for one packet of exactly `len` octets, which are then sent as whatever has been written there; before
    /// that they are what an older packet left. A packet of no octets is none.
    ///
    /// Allocates only when more waits than a batch that is flushed in time ever holds.
    pub fn packet(&mut self, destination: SocketAddr, len: usize) -> &mut [u8] {
        let octets = self.used..self.used + len;
        self.used = octets.end;
        if self.buffer.len() < self.used {
            self.buffer.resize(self.used.next_power_of_two(), 0);
        }
        if len > 0 {
            self.add_to_runs(destination, octets.clone());
        }
        &mut self.buffer[octets]
    }

    fn add_to_runs(&mut self, destination: SocketAddr, octets: Range<usize>) {
        if self.gso
            && let Some(run) = self.runs.last_mut()
            && run.takes(destination, &octets)
        {
            run.octets.end = octets.end;
            return;
        }
        self.runs.push(Run {
            destination,
            segment: octets.len(),
            octets,
        });
    }

    /// Whether it is time to flush.
    pub fn is_full(&self) -> bool {
        self.runs.len() >= FULL_MESSAGES || self.used >= FULL_OCTETS
    }

    /// Sends everything and leaves the batch empty. What the kernel does not take at once is dropped and counted: a
    /// late packet of a live picture helps nobody, and waiting would delay all other viewers.
    pub fn flush(&mut self, socket: &UdpSocket) -> Flushed {
        let mut flushed = Flushed::default();
        let mut next = 0;
        while next < self.runs.len() {
            let end = self.runs.len().min(next + MESSAGES_PER_CALL);
            match self
                .messages
                .send(socket, &self.buffer, &self.runs[next..end])
            {
                Ok(sent) => {
                    for run in &self.runs[next..next + sent] {
                        flushed.sent_packets += run.packets();
                        flushed.sent_octets += run.octets.len() as u64;
                    }
                    next += sent;
                }
                Err(error) => match Refusal::of(&error) {
                    Refusal::Interrupted => {}
                    Refusal::NoRoom => {
                        flushed.dropped_packets += packets(&self.runs[next..]);
                        break;
                    }
                    Refusal::PerhapsSegmentation if self.runs[next].packets() > 1 => {
                        self.send_apart(socket, next, &error, &mut flushed);
                        next += 1;
                    }
                    Refusal::PerhapsSegmentation | Refusal::Destination => {
                        flushed.dropped_packets += self.runs[next].packets();
                        next += 1;
                    }
                },
            }
        }
        self.used = 0;
        self.runs.clear();
        flushed
    }

    /// Sends a refused run packet by packet. If that works, it was the segmentation that the kernel or the device
    /// lacks, and there will be no more runs; if not, it was the destination (EINVAL is also the answer to port 0).
    fn send_apart(
        &mut self,
        socket: &UdpSocket,
        index: usize,
        refusal: &io::Error,
        flushed: &mut Flushed,
    ) {
        let mut worked = false;
        for packet in self.runs[index].apart() {
            let alone = std::slice::from_ref(&packet);
            if matches!(self.messages.send(socket, &self.buffer, alone), Ok(1)) {
                worked = true;
                flushed.sent_packets += 1;
                flushed.sent_octets += packet.octets.len() as u64;
            } else {
                flushed.dropped_packets += 1;
            }
        }
        if worked && self.gso {
            self.gso = false;
            self.split_after(index);
            tracing::warn!(
                error = %refusal,
                "the system cannot send packets in runs (UDP GSO); sending them one by one, which costs more CPU"
            );
        }
    }

    /// Takes the runs behind `index` apart. The one place that may allocate, once.
    fn split_after(&mut self, index: usize) {
        let rest = self.runs.split_off(index + 1);
        self.runs.extend(rest.iter().flat_map(Run::apart));
    }
}

impl Run {
    /// Whether a packet of these octets can be this run's next segment.
    fn takes(&self, destination: SocketAddr, octets: &Range<usize>) -> bool {
        // Only a run of whole segments is still open; a shorter one is its last.
        let segments = self.octets.len() / self.segment;
        self.destination == destination
            && self.octets.end == octets.start
            && segments * self.segment == self.octets.len()
            && octets.len() <= self.segment
            && segments < MAX_SEGMENTS
            && self.octets.len() + octets.len() <= MAX_RUN
    }

    fn packets(&self) -> u64 {
        self.octets.len().div_ceil(self.segment) as u64
    }

    /// Each of its packets as a run of its own.
    fn apart(&self) -> impl Iterator<Item = Run> + use<> {
        let Run {
            destination,
            octets,
            segment,
        } = self.clone();
        octets.clone().step_by(segment).map(move |start| {
            let octets = start..octets.end.min(start + segment);
            Run {
                destination,
                segment: octets.len(),
                octets,
            }
        })
    }
}

fn packets(runs: &[Run]) -> u64 {
    runs.iter().map(Run::packets).sum()
}

/// Why the kernel did not take the first of the remaining messages.
enum Refusal {
    Interrupted,
    /// The socket's buffer is full: nothing else would fit either.
    NoRoom,
    /// No checksum offload on the way (EIO), no such option or a segment too large for the path.
    PerhapsSegmentation,
    /// Only this destination: no route, forbidden by a firewall.
    Destination,
}

impl Refusal {
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EINTR) => Self::Interrupted,
            Some(libc::EAGAIN) => Self::NoRoom,
            Some(libc::EIO | libc::EINVAL | libc::EOPNOTSUPP | libc::EMSGSIZE) => {
                Self::PerhapsSegmentation
            }
            Some(_) | None => Self::Destination,
        }
    }
}

/// The kernel's view of one `sendmmsg(2)`. It is kept, as clearing it for each call would cost more than filling in the
/// messages that are sent.
struct Messages {
    parts: Box<[MessageParts; MESSAGES_PER_CALL]>,
    headers: Box<[libc::mmsghdr; MESSAGES_PER_CALL]>,
}

#[derive(Clone, Copy)]
struct MessageParts {
    address: RawAddress,
    slice: libc::iovec,
    control: SegmentControl,
}

impl Messages {
    fn new() -> Self {
        // SAFETY: iovec and mmsghdr are plain data for which zero is valid (null pointers, lengths of 0).
        let (slice, header): (libc::iovec, libc::mmsghdr) = unsafe { mem::zeroed() };
        let parts = MessageParts {
            address: RawAddress::UNSPECIFIED,
            slice,
            control: SegmentControl::new(),
        };
        Self {
            parts: Box::new([parts; MESSAGES_PER_CALL]),
            headers: Box::new([header; MESSAGES_PER_CALL]),
        }
    }

    /// Sends the first of `runs`, at most [`MESSAGES_PER_CALL`], which lie within `buffer`; says how many of them left.
    /// An error is the first one's.
    fn send(&mut self, socket: &UdpSocket, buffer: &[u8], runs: &[Run]) -> io::Result<usize> {
        let count = runs.len().min(MESSAGES_PER_CALL);
        let places = self.parts.iter_mut().zip(self.headers.iter_mut());
        for ((parts, header), run) in places.zip(runs) {
            let octets = &buffer[run.octets.clone()];
            parts.slice.iov_base = octets.as_ptr().cast_mut().cast();
            parts.slice.iov_len = octets.len();
            let (address, len) = RawAddress::encode(run.destination);
            parts.address = address;
            header.msg_hdr.msg_name = (&raw mut parts.address).cast();
            header.msg_hdr.msg_namelen = len;
            header.msg_hdr.msg_iov = &raw mut parts.slice;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = (&raw mut parts.control).cast();
            let is_segmented = octets.len() > run.segment;
            header.msg_hdr.msg_controllen = if is_segmented {
                // A run has at least two segments in MAX_RUN octets, or the first is the only one.
                parts.control.segment = run.segment as u16;
                size_of::<SegmentControl>() as _
            } else {
                0
            };
        }
        // SAFETY: the first `count` headers were just pointed to an address, a slice of `buffer` and a control message
        // of their own with their true lengths, all of which outlive the call; the kernel only reads what they point to.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count as libc::c_uint,
                (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

impl SegmentControl {
    fn new() -> Self {
        // SAFETY: plain integers, for which zero is valid.
        let mut control: Self = unsafe { mem::zeroed() };
        control.header.cmsg_level = libc::SOL_UDP;
        control.header.cmsg_type = libc::UDP_SEGMENT;
        control.header.cmsg_len = (mem::offset_of!(Self, segment) + size_of::<u16>()) as _;
        control
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::bind_udp;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    fn socket() -> UdpSocket {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        bind_udp(local, 4 << 20, 4 << 20).unwrap()
    }

    fn receiver() -> (UdpSocket, SocketAddr) {
        let socket = socket();
        socket.set_nonblocking(false).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    fn packet(number: usize, len: usize) -> Vec<u8> {
        (0..len).map(|index| (number * 31 + index) as u8).collect()
    }

    fn put(batch: &mut SendBatch, destination: SocketAddr, packet: &[u8]) {
        batch
            .packet(destination, packet.len())
            .copy_from_slice(packet);
    }

    fn assert_receives(receiver: &UdpSocket, packets: &[Vec<u8>]) {
        let mut buffer = vec![0; 65_536];
        for (index, packet) in packets.iter().enumerate() {
            let len = receiver.recv(&mut buffer).unwrap();
            assert!(
                buffer[..len] == packet[..],
                "packet {index}: {len} octets for {}",
                packet.len()
            );
        }
        receiver.set_nonblocking(true).unwrap();
        let more = receiver.recv(&mut buffer).unwrap_err();
        assert_eq!(more.kind(), io::ErrorKind::WouldBlock);
        receiver.set_nonblocking(false).unwrap();
    }

    fn disable_checksums(socket: &UdpSocket) {
        let yes: libc::c_int = 1;
        // SAFETY: the option's value is an int that outlives the call, and its size is given.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_NO_CHECK,
                (&raw const yes).cast(),
                size_of_val(&yes) as libc::socklen_t,
            )
        };
        assert_eq!(result, 0);
    }

    /// What a batch with these lengths to one address becomes: packets per message.
    fn runs(gso: bool, lengths: &[usize]) -> Vec<u64> {
        let mut batch = SendBatch::new(gso);
        for (number, &len) in lengths.iter().enumerate() {
            put(
                &mut batch,
                SocketAddr::from((Ipv4Addr::LOCALHOST, 9)),
                &packet(number, len),
            );
        }
        batch.runs.iter().map(Run::packets).collect()
    }

    #[test]
    fn a_run_has_equal_segments_and_only_the_last_is_shorter() {
        assert_eq!(runs(true, &[1200, 1200, 1200]), [3]);
        assert_eq!(runs(true, &[1200, 1200, 300, 1200]), [3, 1]);
        assert_eq!(runs(true, &[1200, 300, 300]), [2, 1]);
        assert_eq!(runs(true, &[300, 1200, 1200]), [1, 2]);
        assert_eq!(runs(true, &[100; 130]), [64, 64, 2]);
        assert_eq!(runs(true, &[1300; 51]), [50, 1]);
        assert_eq!(runs(false, &[1200; 3]), [1, 1, 1]);
    }

    #[test]
    fn runs_arrive_as_the_packets_that_were_put_in() {
        for gso in [true, false] {
            let (receiver, address) = receiver();
            let (other_receiver, other) = self::receiver();
            let sizes = [1200, 1200, 1200, 40, 1180, 1180, 5, 5, 1, 1, 900];
            let packets: Vec<_> = (0..44).map(|n| packet(n, sizes[n % 11])).collect();
            let mut batch = SendBatch::new(gso);
            for packet in &packets {
                put(&mut batch, address, packet);
            }
            put(&mut batch, other, b"between");
            put(&mut batch, address, b"after");
            let flushed = batch.flush(&socket());
            let mut expected = packets;
            expected.push(b"after".to_vec());
            let octets = expected.iter().map(Vec::len).sum::<usize>() + b"between".len();
            assert_eq!(
                flushed,
                Flushed {
                    sent_packets: 46,
                    sent_octets: octets as u64,
                    dropped_packets: 0
                }
            );
            assert_receives(&receiver, &expected);
            assert_receives(&other_receiver, &[b"between".to_vec()]);
            assert_eq!(batch.flush(&socket()), Flushed::default());
        }
    }

    #[test]
    fn more_messages_than_one_call_takes_all_leave() {
        let (receiver, address) = receiver();
        let packets: Vec<_> = (0..150).map(|number| packet(number, 50)).collect();
        let mut batch = SendBatch::new(false);
        for packet in &packets {
            put(&mut batch, address, packet);
        }
        assert!(batch.is_full());
        assert_eq!(batch.flush(&socket()).sent_packets, 150);
        assert!(!batch.is_full());
        assert_receives(&receiver, &packets);
    }

    #[test]
    fn more_octets_than_a_batch_wants_all_leave() {
        let (receiver, address) = receiver();
        let count = (FULL_OCTETS + MAX_RUN) / 1400 + 10;
        let packets: Vec<_> = (0..count).map(|number| packet(number, 1400)).collect();
        let mut batch = SendBatch::new(true);
        for packet in &packets {
            put(&mut batch, address, packet);
        }
        assert!(batch.is_full());
        assert_eq!(batch.flush(&socket()).sent_packets, count as u64);
        assert_receives(&receiver, &packets);
    }

    #[test]
    fn a_bad_destination_costs_only_its_own_packets_and_not_the_runs() {
        let (receiver, address) = receiver();
        let mut batch = SendBatch::new(true);
        // Refused with EINVAL, as are runs that are not supported, and with EAFNOSUPPORT.
        for bad in ["127.0.0.1:0", "[::1]:9"] {
            put(&mut batch, address, b"before");
            put(&mut batch, bad.parse().unwrap(), &[1; 100]);
            put(&mut batch, bad.parse().unwrap(), &[2; 100]);
        }
        put(&mut batch, address, b"after");
        let flushed = batch.flush(&socket());
        assert_eq!((flushed.sent_packets, flushed.dropped_packets), (3, 4));
        assert_receives(
            &receiver,
            &[b"before", b"before", &b"after"[..]].map(<[u8]>::to_vec),
        );
        assert!(batch.gso);
    }

    #[test]
    fn where_runs_are_refused_their_packets_are_sent_one_by_one_from_then_on() {
        let (receiver, address) = receiver();
        let sender = socket();
        // Without checksums the kernel refuses to segment and still sends single packets.
        disable_checksums(&sender);
        let packets: Vec<_> = (0..100).map(|number| packet(number, 200)).collect();
        let mut batch = SendBatch::new(true);
        for packet in &packets {
            put(&mut batch, address, packet);
        }
        assert_eq!(batch.runs.len(), 2);
        let flushed = batch.flush(&sender);
        assert_eq!((flushed.sent_packets, flushed.dropped_packets), (100, 0));
        assert_receives(&receiver, &packets);
        assert!(!batch.gso);
    }
}
