//! A file is three boxes that fill it, and its sample holds the slices of the access unit, in their order and unchanged.

use apiary_wire::h264::nal_units;
use apiary_wire::mp4::still;

pub(crate) fn check(data: &[u8]) {
    let Ok(file) = still(data) else {
        return;
    };
    let (mut rest, mut kinds, mut sample) = (&file[..], Vec::new(), &file[..0]);
    while let Some(head) = rest.first_chunk::<8>() {
        let [a, b, c, d, kind @ ..] = *head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        assert!((8..=rest.len()).contains(&length), "{length}");
        sample = &rest[8..length];
        kinds.push(kind);
        rest = &rest[length..];
    }
    assert!(rest.is_empty());
    assert_eq!(kinds, [*b"ftyp", *b"moov", *b"mdat"]);
    let slices = nal_units(data).filter(|nal| matches!(nal[0] & 0x1f, 1 | 5));
    let expected: Vec<u8> = slices
        .flat_map(|nal| [&(nal.len() as u32).to_be_bytes(), nal].concat())
        .collect();
    assert_eq!(sample, expected);
    // The one offset in the file points at the sample.
    let begins = ((file.len() - sample.len()) as u32).to_be_bytes();
    let offset = [b"stco", &[0, 0, 0, 0, 0, 0, 0, 1][..], &begins].concat();
    assert!(file.windows(offset.len()).any(|window| window == offset));
}
