//! The system calls that have no safe form elsewhere, and all of the `unsafe` of this program.
#![allow(
    unsafe_code,
    reason = "batched receives and segmented sends have no safe form"
)]

mod options;
mod receive;
mod send;

pub(crate) use options::{
    enlarge_receive_buffer, note_receive_times, raise_file_limit, receive_merged, run_at_once,
    socket_drops,
};
pub(crate) use receive::{BATCH, MAX_DATAGRAM, ReceiveBatch};
pub(crate) use send::{MAX_RUNS, Run, send_runs};
