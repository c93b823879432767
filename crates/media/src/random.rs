//! What is handed out at random: names and numbers that nobody can guess.

use apiary_wire::units::Ssrc;

/// Random octets that nobody can guess.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's random source works");
    bytes
}

/// Octets as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SSRCs that differ from each other and from zero.
pub(crate) fn ssrcs<const N: usize>() -> [Ssrc; N] {
    loop {
        let drawn: [Ssrc; N] = std::array::from_fn(|_| Ssrc(u32::from_be_bytes(random())));
        let distinct = (1..N).all(|at| !drawn[..at].contains(&drawn[at]));
        if distinct && !drawn.contains(&Ssrc(0)) {
            return drawn;
        }
    }
}
