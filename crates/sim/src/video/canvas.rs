//! A picture in planar YUV 4:2:0 and the few strokes that the test card is drawn with. Drawing goes
//! straight into the planes that the encoder reads; there is no RGB anywhere.

use super::font;

/// A colour in BT.601 limited range: luma 16–235, chroma 16–240 around 128.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Colour {
    pub(super) y: u8,
    pub(super) u: u8,
    pub(super) v: u8,
}

impl Colour {
    pub(super) const WHITE: Self = Self::grey(235);
    pub(super) const BLACK: Self = Self::grey(16);

    pub(super) const fn grey(y: u8) -> Self {
        Self { y, u: 128, v: 128 }
    }

    /// The colour of brightness `y` whose hue is an angle on the chroma circle and whose saturation
    /// is its radius (0–112).
    pub(super) fn hue(y: u8, degrees: f32, saturation: f32) -> Self {
        let (sine, cosine) = degrees.to_radians().sin_cos();
        let chroma = |part: f32| (128.0 + part * saturation).clamp(16.0, 240.0) as u8;
        Self {
            y,
            u: chroma(cosine),
            v: chroma(sine),
        }
    }
}

/// A rectangle in pixels; every field even, since one chroma sample covers two by two pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Area {
    /// The area with its fields rounded down to even numbers and cut to `width` by `height`.
    fn within(self, width: usize, height: usize) -> Self {
        let x = (self.x & !1).min(width);
        let y = (self.y & !1).min(height);
        Self {
            x,
            y,
            width: (self.width & !1).min(width - x),
            height: (self.height & !1).min(height - y),
        }
    }
}

/// A picture of even width and height; planes are tightly packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Canvas {
    width: usize,
    height: usize,
    pub(super) y: Vec<u8>,
    pub(super) u: Vec<u8>,
    pub(super) v: Vec<u8>,
}

impl Canvas {
    /// A black picture. Odd sizes are rounded down to even ones, and nothing is smaller than 2 by 2.
    pub(super) fn new(width: usize, height: usize) -> Self {
        let (width, height) = ((width & !1).max(2), (height & !1).max(2));
        Self {
            width,
            height,
            y: vec![Colour::BLACK.y; width * height],
            u: vec![Colour::BLACK.u; width * height / 4],
            v: vec![Colour::BLACK.v; width * height / 4],
        }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn height(&self) -> usize {
        self.height
    }

    pub(super) fn fill(&mut self, area: Area, colour: Colour) {
        let area = area.within(self.width, self.height);
        fill_plane(&mut self.y, self.width, area, colour.y);
        let half = halved(area);
        fill_plane(&mut self.u, self.width / 2, half, colour.u);
        fill_plane(&mut self.v, self.width / 2, half, colour.v);
    }

    /// Puts back what `original`, a canvas of the same size, shows in `area`.
    pub(super) fn restore(&mut self, area: Area, original: &Self) {
        let area = area.within(self.width, self.height);
        copy_plane(&mut self.y, &original.y, self.width, area);
        let half = halved(area);
        copy_plane(&mut self.u, &original.u, self.width / 2, half);
        copy_plane(&mut self.v, &original.v, self.width / 2, half);
    }

    /// Fills the luma of `area` from `samples`, read on from `offset` and round again.
    pub(super) fn grain(&mut self, area: Area, samples: &[u8], offset: usize) {
        let area = area.within(self.width, self.height);
        let Some(last_start) = samples.len().checked_sub(area.width.max(1)) else {
            return;
        };
        for row in 0..area.height {
            let start = (offset + row * area.width) % (last_start + 1);
            let at = (area.y + row) * self.width + area.x;
            self.y[at..at + area.width].copy_from_slice(&samples[start..start + area.width]);
        }
    }

    /// Writes `text` with its top left corner at (`x`, `y`), each dot `scale` pixels wide (even).
    pub(super) fn text(
        &mut self,
        (x, y): (usize, usize),
        scale: usize,
        colour: Colour,
        text: &str,
    ) {
        for (index, character) in text.chars().enumerate() {
            let left = x + index * font::ADVANCE * scale;
            for (row, bits) in font::glyph(character).into_iter().enumerate() {
                self.dots((left, y + row * scale), scale, colour, bits);
            }
        }
    }

    /// One row of a glyph; neighbouring dots are filled in one stroke.
    fn dots(&mut self, (x, y): (usize, usize), scale: usize, colour: Colour, bits: u8) {
        let lit = |column: usize| bits >> (font::GLYPH_WIDTH - 1 - column) & 1 == 1;
        let mut column = 0;
        while column < font::GLYPH_WIDTH {
            let run = (column..font::GLYPH_WIDTH)
                .take_while(|&at| lit(at))
                .count();
            if run > 0 {
                let area = Area {
                    x: x + column * scale,
                    y,
                    width: run * scale,
                    height: scale,
                };
                self.fill(area, colour);
            }
            column += run.max(1);
        }
    }
}

/// Width in pixels of `text` written at `scale`.
pub(super) fn text_width(text: &str, scale: usize) -> usize {
    (text.chars().count() * font::ADVANCE).saturating_sub(1) * scale
}

fn halved(area: Area) -> Area {
    Area {
        x: area.x / 2,
        y: area.y / 2,
        width: area.width / 2,
        height: area.height / 2,
    }
}

fn fill_plane(plane: &mut [u8], stride: usize, area: Area, value: u8) {
    for row in area.y..area.y + area.height {
        plane[row * stride + area.x..][..area.width].fill(value);
    }
}

fn copy_plane(plane: &mut [u8], original: &[u8], stride: usize, area: Area) {
    for row in area.y..area.y + area.height {
        let at = row * stride + area.x;
        plane[at..at + area.width].copy_from_slice(&original[at..at + area.width]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(x: usize, y: usize, width: usize, height: usize) -> Area {
        Area {
            x,
            y,
            width,
            height,
        }
    }

    #[test]
    fn fills_luma_and_chroma_of_the_same_pixels() {
        let mut canvas = Canvas::new(8, 4);
        canvas.fill(
            area(2, 2, 4, 2),
            Colour {
                y: 100,
                u: 90,
                v: 200,
            },
        );
        assert_eq!(canvas.y[2 * 8..3 * 8], [16, 16, 100, 100, 100, 100, 16, 16]);
        assert_eq!(canvas.u, [128, 128, 128, 128, 128, 90, 90, 128]);
        assert_eq!(canvas.v, [128, 128, 128, 128, 128, 200, 200, 128]);
    }

    #[test]
    fn what_leaves_the_picture_is_cut_off() {
        let mut canvas = Canvas::new(8, 4);
        canvas.fill(area(6, 2, 400, 400), Colour::WHITE);
        canvas.fill(area(100, 100, 2, 2), Colour::WHITE);
        canvas.grain(area(6, 2, 400, 400), &[1, 2, 3], 7);
        canvas.text((4, 0), 2, Colour::WHITE, "Weitläufig");
        assert_eq!(canvas.y.len(), 32);
    }

    #[test]
    fn restoring_undoes_any_drawing() {
        let mut original = Canvas::new(64, 32);
        original.fill(area(0, 0, 32, 32), Colour::hue(90, 40.0, 60.0));
        let mut canvas = original.clone();
        canvas.text((2, 2), 2, Colour::WHITE, "12:3");
        assert_ne!(canvas, original);
        canvas.restore(area(0, 0, 64, 32), &original);
        assert_eq!(canvas, original);
    }

    #[test]
    fn glyphs_are_drawn_dot_by_dot() {
        let mut canvas = Canvas::new(12, 14);
        canvas.text((0, 0), 2, Colour::WHITE, "L");
        let lit = canvas.y.iter().filter(|&&y| y == Colour::WHITE.y).count();
        // An L has a column of seven dots and four more at its foot, each dot four pixels.
        assert_eq!(lit, 11 * 4);
        assert_eq!(text_width("L", 2), 10);
    }
}
