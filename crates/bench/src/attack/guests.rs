//! Guests that the server has let in and that then misbehave, each a loop on its own thread.

use std::time::{Duration, Instant};

use apiary_wire::rtcp::RtcpWriter;
use apiary_wire::{Bitrate, Ssrc};
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use serde::Serialize;

use crate::background::Stop;
use crate::error::BenchError;
use crate::sys;
use crate::viewer::ClearHeader;
use crate::viewer::guest::{Guest, Received};

use super::{Onslaught, Pace, rtcp};

/// So small that a picture's burst overflows it; the kernel makes it its minimum.
const TINY_BUFFER: usize = 1;
/// As browsers: the server must go on taking this peer for alive.
const REPORT_EVERY: Duration = Duration::from_millis(200);
const REMB: Bitrate = Bitrate::from_kbps(20_000);
const LOOK_UP: Duration = Duration::from_millis(20);
/// Packets in one greedy NACK.
const NACK_AT_ONCE: usize = 64;

/// What a guest says regularly so that it counts as alive.
struct Pulse {
    next: Instant,
}

impl Pulse {
    fn new() -> Self {
        Self {
            next: Instant::now(),
        }
    }

    fn beat(&mut self, now: Instant, guest: &mut Guest, media: Ssrc) {
        guest.drive(now);
        if now < self.next {
            return;
        }
        self.next = now + REPORT_EVERY;
        let mut compound = Vec::new();
        RtcpWriter::new(&mut compound)
            .receiver_report(guest.ssrc(), &[])
            .sdes_cname(guest.ssrc(), "bench")
            .remb(guest.ssrc(), REMB, &[media]);
        guest.send_rtcp(compound);
    }
}

/// Never reads its socket, whose buffer is as small as they get, and says all the same that it is there. What found the
/// buffer full counts as refused.
pub(crate) fn never_reads(
    mut guest: Guest,
    media: Ssrc,
    stop: &Stop,
) -> Result<Onslaught, BenchError> {
    socket2::SockRef::from(guest.socket())
        .set_recv_buffer_size(TINY_BUFFER)
        .map_err(BenchError::io("shrink a receive buffer"))?;
    let start = Instant::now();
    let mut pulse = Pulse::new();
    while !stop.is_due() {
        pulse.beat(Instant::now(), &mut guest, media);
        std::thread::sleep(LOOK_UP);
    }
    let refused = sys::socket_drops(guest.socket())
        .map_err(BenchError::io("ask what a socket had no room for"))?;
    guest.close();
    Ok(Onslaught {
        refused,
        seconds: start.elapsed().as_secs_f64(),
        ..Onslaught::default()
    })
}

/// Asks again for every packet of the picture that it gets, as soon as it gets it.
pub(crate) fn nacks_everything(
    mut guest: Guest,
    video_payload_type: u8,
    media: Ssrc,
    stop: &Stop,
) -> Result<Onslaught, BenchError> {
    let mut onslaught = Onslaught::default();
    let start = Instant::now();
    let mut pulse = Pulse::new();
    let mut buffer = [0; 2048];
    let mut newest = 0u16;
    let mut numbers = Vec::with_capacity(NACK_AT_ONCE);
    while !stop.is_due() {
        let now = Instant::now();
        pulse.beat(now, &mut guest, media);
        numbers.clear();
        loop {
            match guest.receive(&mut buffer) {
                Received::Rtp(len) => {
                    onslaught.octets_received += len as u64;
                    let Some(header) = ClearHeader::parse(&buffer[..len]) else {
                        continue;
                    };
                    if header.payload_type == video_payload_type {
                        newest = header.sequence_number;
                    }
                    // A retransmission is asked for once more too: any recent packet will do.
                    numbers.push(newest.wrapping_sub(numbers.len() as u16 % 16));
                }
                Received::Other => {}
                Received::Nothing => break,
            }
            if numbers.len() == NACK_AT_ONCE {
                break;
            }
        }
        if numbers.is_empty() {
            guest.wait(now + LOOK_UP);
            continue;
        }
        numbers.sort_unstable_by_key(|number| number.wrapping_sub(newest.wrapping_sub(1000)));
        let compound = rtcp::nack(guest.ssrc(), media, &numbers);
        onslaught.sent += numbers.len() as u64;
        onslaught.octets_sent += compound.len() as u64;
        guest.send_rtcp(compound);
    }
    guest.close();
    onslaught.seconds = start.elapsed().as_secs_f64();
    Ok(onslaught)
}

/// How hard the RTCP attack is driven, a second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RtcpRates {
    pub(crate) plis: u64,
    /// Rounds of NACKs for all 65,536 packets.
    pub(crate) nack_rounds: u64,
    pub(crate) malformed: u64,
}

/// What was sent of each kind; a kind that was not sent proves nothing.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct HostileRtcp {
    pub(crate) plis: u64,
    /// Packets that were asked for again.
    pub(crate) nacked: u64,
    pub(crate) malformed: u64,
    #[serde(flatten)]
    pub(crate) all: Onslaught,
}

/// Sends authentic RTCP that is malformed, asks for everything, or asks for key frames (h20).
pub(crate) fn hostile_rtcp(
    mut guest: Guest,
    media: Ssrc,
    rates: RtcpRates,
    stop: &Stop,
) -> Result<HostileRtcp, BenchError> {
    let own = guest.ssrc();
    let malformed = rtcp::malformed(own, media, 1);
    let everything = rtcp::nack_everything(own, media);
    let mut kinds = [
        (
            Pace::new(rates.plis, Instant::now()),
            vec![rtcp::pli(own, media)],
        ),
        (
            Pace::new(rates.nack_rounds * everything.len() as u64, Instant::now()),
            everything,
        ),
        (Pace::new(rates.malformed, Instant::now()), malformed),
    ];
    let everything_len = kinds[1].1.len() as u64;
    let mut sent = [0u64; 3];
    let all = run(&mut guest, media, stop, |now, guest, onslaught| {
        let mut until = now + LOOK_UP;
        for ((pace, compounds), sent) in kinds.iter_mut().zip(&mut sent) {
            for _ in 0..pace.due(now) {
                let compound = compounds[*sent as usize % compounds.len()].clone();
                *sent += 1;
                onslaught.sent += 1;
                onslaught.octets_sent += compound.len() as u64;
                guest.send_rtcp(compound);
            }
            until = until.min(pace.next());
        }
        until
    })?;
    let [plis, nacks, malformed] = sent;
    Ok(HostileRtcp {
        plis,
        nacked: nacks * (1 << 16) / everything_len,
        malformed,
        all,
    })
}

/// Sends SRTP that nobody asked for, and SRTCP that is not authentic (h26).
pub(crate) fn srtp_flood(
    mut guest: Guest,
    media: Ssrc,
    per_second: u64,
    stop: &Stop,
) -> Result<Onslaught, BenchError> {
    /// One in so many is SRTCP, which costs the server a look at its tag.
    const RTCP_EVERY: u32 = 4;
    const LEN: usize = 300;
    let mut pace = Pace::new(per_second, Instant::now());
    let mut rng = SmallRng::seed_from_u64(1);
    let mut datagram = [0; LEN];
    run(&mut guest, media, stop, |now, guest, onslaught| {
        for _ in 0..pace.due(now) {
            rng.fill_bytes(&mut datagram[..40]);
            datagram[0] = 0x80;
            datagram[1] = match rng.random_ratio(1, RTCP_EVERY) {
                true => 201,
                false => 102,
            };
            onslaught.sent += 1;
            onslaught.octets_sent += LEN as u64;
            guest.send_raw(&datagram);
        }
        pace.next()
    })
}

/// Lets `attack` act until told to stop; between its acts the guest reads its socket and stays alive.
fn run(
    guest: &mut Guest,
    media: Ssrc,
    stop: &Stop,
    mut attack: impl FnMut(Instant, &mut Guest, &mut Onslaught) -> Instant,
) -> Result<Onslaught, BenchError> {
    let mut onslaught = Onslaught::default();
    let start = Instant::now();
    let mut pulse = Pulse::new();
    let mut buffer = [0; 2048];
    while !stop.is_due() {
        let now = Instant::now();
        pulse.beat(now, guest, media);
        loop {
            match guest.receive(&mut buffer) {
                Received::Rtp(len) => onslaught.octets_received += len as u64,
                Received::Other => {}
                Received::Nothing => break,
            }
        }
        let next = attack(now, guest, &mut onslaught);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    guest.close();
    onslaught.seconds = start.elapsed().as_secs_f64();
    Ok(onslaught)
}
