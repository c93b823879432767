#!/usr/bin/env python3
"""Makes tone.opus-packets: a seamless loop of Opus packets for the simulated microphone.

Needs ffmpeg with libopus. Usage: ./make-tone.py  (writes beside itself)

A four second melody is synthesised, repeated three times and encoded; the packets of the middle
repetition are kept. As the signal is periodic and every note has died away before the seam, the
encoder's state at both ends of the cut is nearly the same and the loop has no audible click.
"""

import pathlib
import struct
import subprocess

RATE = 48_000
LOOP_SECONDS = 4
REPEATS = 3
PACKETS_PER_LOOP = LOOP_SECONDS * 50  # 20 ms frames
# Hz, one note every half second: a pentatonic figure; 0 is a rest.
NOTES = [523.25, 659.25, 783.99, 880.0, 783.99, 659.25, 587.33, 0]


def expression(side: float) -> str:
    """One channel: decaying sine notes with a soft second harmonic; `side` detunes it a little."""
    t = f"mod(t,{LOOP_SECONDS})"
    parts = []
    for index, hz in enumerate(NOTES):
        if hz == 0:
            continue
        start = index * 0.5
        u = f"({t}-{start})"
        envelope = f"between({u},0,0.5)*min(1,{u}*80)*exp(-7*{u})*min(1,max(0,(0.5-{u})*50))"
        wave = f"(sin(2*PI*{hz + side}*{u})+0.3*sin(4*PI*{hz}*{u}))"
        parts.append(f"0.18*{envelope}*{wave}")
    return "+".join(parts)


def encode() -> bytes:
    source = f"aevalsrc=exprs={expression(0.0)}|{expression(0.7)}:s={RATE}:d={LOOP_SECONDS * REPEATS}"
    source = source.replace(",", "\\,")
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source]
    command += ["-c:a", "libopus", "-b:a", "48k", "-vbr", "constrained", "-application", "audio"]
    command += ["-frame_duration", "20", "-fflags", "+bitexact", "-f", "ogg", "-"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def ogg_packets(data: bytes) -> list[bytes]:
    """All packets of a single-stream Ogg file (RFC 3533), headers included."""
    packets, partial, at = [], b"", 0
    while at < len(data):
        assert data[at : at + 4] == b"OggS", "not an Ogg page"
        segments = data[at + 26]
        lacing = data[at + 27 : at + 27 + segments]
        at += 27 + segments
        for size in lacing:
            partial += data[at : at + size]
            at += size
            if size < 255:
                packets.append(partial)
                partial = b""
    return packets


def main() -> None:
    packets = ogg_packets(encode())[2:]  # OpusHead and OpusTags
    loop = packets[PACKETS_PER_LOOP : 2 * PACKETS_PER_LOOP]
    assert len(loop) == PACKETS_PER_LOOP, len(packets)
    out = b"".join(struct.pack(">H", len(packet)) + packet for packet in loop)
    pathlib.Path(__file__).with_name("tone.opus-packets").write_bytes(out)
    print(f"{len(loop)} packets, {len(out)} bytes, first TOC {loop[0][0]:#04x}")


main()
