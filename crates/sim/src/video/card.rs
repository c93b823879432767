//! The moving test card: what a simulated camera sees. It shows the camera's name, a clock with
//! tenths, the bitrate in force, a block that wanders and a patch of grain that keeps the encoder's
//! rate control busy as a real sensor's noise would. Drawing one picture costs well under a
//! millisecond at 1280 by 720: the background is drawn once and only what changes is redrawn.

use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

use super::canvas::{Area, Canvas, Colour, text_width};

/// What changes from one picture to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene<'a> {
    /// Pictures since the start of the stream; moves the block.
    pub(super) frame: u64,
    /// The time of day, such as `12:34:56.7`.
    pub(super) clock: &'a str,
    /// The bitrate in force, kbit/s.
    pub(super) bitrate_kbps: u64,
}

/// Draws the test card of one camera.
#[derive(Debug)]
pub(super) struct TestCard {
    background: Canvas,
    canvas: Canvas,
    layout: Layout,
    accent: Colour,
    grain: Vec<u8>,
    rng: SmallRng,
}

/// Where things stand; all of it follows from the picture's size.
#[derive(Debug, Clone, Copy)]
struct Layout {
    /// Pixels per font dot of the clock, and of the other lines.
    clock_scale: usize,
    text_scale: usize,
    clock: Area,
    bitrate: Area,
    track: Area,
    grain: Area,
}

const CLOCK_SAMPLE: &str = "00:00:00.0";
const BITRATE_SAMPLE: &str = "00000 KBIT/S";
/// The wandering block crosses the picture in this many pictures (four seconds at 30 a second).
const FRAMES_PER_CROSSING: u64 = 120;
/// The swatches at the bottom take one in so many lines.
const SWATCH_SHARE: usize = 24;
/// Luma swing of the grain around mid grey.
const GRAIN_SWING: i16 = 28;

impl TestCard {
    /// A card of `width` by `height` pixels for the camera called `name`, tinted by `hue` in degrees.
    pub(super) fn new((width, height): (usize, usize), name: &str, hue: f32, seed: u64) -> Self {
        let mut background = Canvas::new(width, height);
        let layout = Layout::new(background.width(), background.height());
        draw_background(&mut background, &layout, name, hue);
        let mut rng = SmallRng::seed_from_u64(seed);
        Self {
            canvas: background.clone(),
            grain: grain(layout.grain, &mut rng),
            background,
            layout,
            accent: Colour::hue(170, hue + 180.0, 90.0),
            rng,
        }
    }

    /// Draws `scene` and returns the picture.
    pub(super) fn draw(&mut self, scene: Scene<'_>) -> &Canvas {
        let Layout {
            clock_scale,
            text_scale,
            clock,
            bitrate,
            track,
            grain,
        } = self.layout;
        for area in [clock, bitrate, track] {
            self.canvas.restore(area, &self.background);
        }
        self.canvas
            .text((clock.x, clock.y), clock_scale, Colour::WHITE, scene.clock);
        let line = format!("{} KBIT/S", scene.bitrate_kbps);
        self.canvas
            .text((bitrate.x, bitrate.y), text_scale, Colour::WHITE, &line);
        self.canvas.fill(block(track, scene.frame), self.accent);
        let offset = self.rng.random_range(0..self.grain.len().max(1));
        self.canvas.grain(grain, &self.grain, offset);
        &self.canvas
    }
}

impl Layout {
    fn new(width: usize, height: usize) -> Self {
        let even = |value: usize| value & !1;
        // At 1280 by 720 the clock's dots are 16 pixels wide and the other lines' 6.
        let clock_scale = even(width / 80).max(2);
        let text_scale = even(width / 200).max(2);
        let line = 7 * text_scale;
        let margin = even(width / 40);
        let clock_width = text_width(CLOCK_SAMPLE, clock_scale);
        let block = even(height / 9).max(2);
        // Colour swatches stand below this line.
        let floor = height - height / SWATCH_SHARE;
        Self {
            clock_scale,
            text_scale,
            clock: Area {
                x: even(width.saturating_sub(clock_width) / 2),
                y: even(height * 2 / 7),
                width: clock_width,
                height: 7 * clock_scale,
            },
            bitrate: Area {
                x: margin,
                y: even(floor.saturating_sub(margin + line)),
                width: text_width(BITRATE_SAMPLE, text_scale),
                height: line,
            },
            track: Area {
                x: 0,
                y: even(height * 3 / 5),
                width: even(width),
                height: block,
            },
            grain: Area {
                x: even(width.saturating_sub(width / 5 + margin)),
                y: even(floor.saturating_sub(height / 5 + margin)),
                width: even(width / 5),
                height: even(height / 5),
            },
        }
    }
}

fn draw_background(canvas: &mut Canvas, layout: &Layout, name: &str, hue: f32) {
    let (width, height) = (canvas.width(), canvas.height());
    const BANDS: usize = 12;
    for band in 0..BANDS {
        let top = height * band / BANDS;
        let area = Area {
            x: 0,
            y: top,
            width,
            height: height * (band + 1) / BANDS - top + 1,
        };
        let shade = 40 + (band * 5) as u8;
        canvas.fill(area, Colour::hue(shade, hue, 44.0));
    }
    for step in 0..8 {
        let swatch = Area {
            x: width * step / 8,
            y: height - height / SWATCH_SHARE,
            width: width / 8 + 1,
            height: height / SWATCH_SHARE,
        };
        canvas.fill(swatch, Colour::hue(120, hue + step as f32 * 45.0, 90.0));
    }
    canvas.fill(layout.track, Colour::hue(30, hue, 25.0));
    let margin = layout.bitrate.x;
    let scale = layout.text_scale + 2;
    canvas.text((margin, margin), scale, Colour::WHITE, name);
}

/// Where the wandering block stands: from the left edge to the right one and back.
fn block(track: Area, frame: u64) -> Area {
    let phase = (frame % (2 * FRAMES_PER_CROSSING)) as usize;
    let crossing = FRAMES_PER_CROSSING as usize;
    let step = if phase < crossing {
        phase
    } else {
        2 * crossing - phase
    };
    Area {
        x: track.width.saturating_sub(track.height) * step / crossing,
        width: track.height,
        ..track
    }
}

/// Twice as many samples as the area has, so that a random offset gives a different patch each time.
fn grain(area: Area, rng: &mut SmallRng) -> Vec<u8> {
    let mut samples = vec![0; area.width * area.height * 2];
    rng.fill_bytes(&mut samples);
    for sample in &mut samples {
        let swing = i16::from(*sample) * (2 * GRAIN_SWING + 1) / 256 - GRAIN_SWING;
        *sample = (126 + swing) as u8;
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(hue: f32) -> TestCard {
        TestCard::new((640, 360), "Front door", hue, 1)
    }

    fn scene(frame: u64, clock: &str, bitrate_kbps: u64) -> Scene<'_> {
        Scene {
            frame,
            clock,
            bitrate_kbps,
        }
    }

    fn region(canvas: &Canvas, area: Area) -> Vec<u8> {
        (area.y..area.y + area.height)
            .flat_map(|row| canvas.y[row * canvas.width() + area.x..][..area.width].to_vec())
            .collect()
    }

    #[test]
    fn clock_bitrate_block_and_grain_each_change_the_picture() {
        let mut card = card(0.0);
        let layout = card.layout;
        let first = card.draw(scene(0, "12:00:00.0", 500)).clone();
        let second = card.draw(scene(1, "12:00:00.1", 501)).clone();
        for area in [layout.clock, layout.bitrate, layout.track, layout.grain] {
            assert_ne!(region(&first, area), region(&second, area), "{area:?}");
        }
    }

    #[test]
    fn nothing_of_an_earlier_picture_remains() {
        let mut used = card(0.0);
        for frame in 0..300 {
            used.draw(scene(frame, "23:59:59.9", 5000));
        }
        let layout = used.layout;
        let after = used.draw(scene(3, "12:00:00.0", 500)).clone();
        let fresh = card(0.0).draw(scene(3, "12:00:00.0", 500)).clone();
        for area in [layout.clock, layout.bitrate, layout.track] {
            assert_eq!(region(&after, area), region(&fresh, area), "{area:?}");
        }
    }

    #[test]
    fn cameras_of_different_hue_look_different() {
        let mean = |canvas: &Canvas| {
            let sum = |plane: &[u8]| plane.iter().map(|&v| u64::from(v)).sum::<u64>();
            let count = canvas.u.len() as u64;
            (sum(&canvas.u) / count, sum(&canvas.v) / count)
        };
        let first = mean(card(0.0).draw(scene(0, "", 0)));
        let second = mean(card(137.5).draw(scene(0, "", 0)));
        let distance = first.0.abs_diff(second.0) + first.1.abs_diff(second.1);
        assert!(distance > 30, "{first:?} {second:?}");
    }

    #[test]
    fn every_size_can_be_drawn() {
        for size in [(2, 2), (16, 16), (17, 33), (160, 90), (1920, 1080)] {
            let mut card = TestCard::new(size, "a long camera name", 90.0, 2);
            for frame in 0..250 {
                card.draw(scene(frame, CLOCK_SAMPLE, 99_999));
            }
        }
    }
}
