//! The geometry of the equity chart: instants and dollars to pixels, nothing else, so that it can be tested.

use protocol::feed::EquityPoint;
use protocol::units::approximate;
use protocol::{Money, Timestamp};

/// Room at the right for the axis, pixels.
pub const AXIS_WIDTH: f64 = 72.0;
/// Room below for the time axis, pixels.
pub const TIME_HEIGHT: f64 = 20.0;
/// Height of the drawdown strip, pixels.
pub const STRIP_HEIGHT: f64 = 44.0;
const TOP: f64 = 12.0;
const GAP: f64 = 10.0;
/// Points drawn: more than there are pixels shows nothing more.
const POINTS_DRAWN_MAX: usize = 700;

/// What is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    /// Pixels.
    pub width: f64,
    /// Pixels.
    pub height: f64,
    from: f64,
    to: f64,
    low: f64,
    high: f64,
    /// The lowest fall from a peak, as a fraction, at most 0.
    pub worst: f64,
    /// Where that is, and its instant.
    pub worst_x: f64,
    /// The line of equity.
    pub line: String,
    /// The same, closed to the bottom of the plot.
    pub area: String,
    /// The line of drawdown, in the strip.
    pub fall: String,
    /// The same, closed to its zero.
    pub fall_area: String,
    /// The last point, which is now.
    pub end: (f64, f64),
    /// The points drawn: pixels, milliseconds, dollars, drawdown.
    pub points: Vec<Drawn>,
}

/// One drawn point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drawn {
    /// Pixels from the left.
    pub x: f64,
    /// Pixels from the top.
    pub y: f64,
    /// Milliseconds of the market's clock.
    pub at: f64,
    /// Dollars.
    pub equity: f64,
    /// Fall from the peak before, as a fraction, at most 0.
    pub fall: f64,
}

/// What the plot is made of.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Pixels.
    pub width: f64,
    /// Pixels.
    pub height: f64,
    /// The curve, oldest first.
    pub points: &'a [EquityPoint],
    /// Where it stands now.
    pub now: (Timestamp, Money),
    /// The left edge.
    pub from: Timestamp,
    /// The right edge.
    pub to: Timestamp,
    /// What gains are told against.
    pub baseline: Money,
}

fn milliseconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64
}

impl Plot {
    /// Places everything. `None` until there are two instants.
    #[must_use]
    pub fn new(frame: &Frame<'_>) -> Option<Self> {
        let begin = frame.points.partition_point(|point| point.at < frame.from);
        let seen = &frame.points[begin..];
        let stride = seen.len() / POINTS_DRAWN_MAX + 1;
        let now = (milliseconds(frame.now.0), approximate(frame.now.1));
        let mut values: Vec<(f64, f64)> = seen
            .chunks(stride)
            .filter_map(|chunk| chunk.last())
            .map(|point| (milliseconds(point.at), approximate(point.equity)))
            .filter(|(at, _)| *at < now.0)
            .collect();
        values.push(now);
        let (from, to) = (milliseconds(frame.from), milliseconds(frame.to));
        if values.len() < 2 || to <= from || frame.width <= AXIS_WIDTH {
            return None;
        }
        let baseline = approximate(frame.baseline);
        let low = values.iter().map(|value| value.1).fold(baseline, f64::min);
        let high = values.iter().map(|value| value.1).fold(baseline, f64::max);
        let room = ((high - low) * 0.06).max(baseline.abs() * 2e-5).max(0.01);
        let mut plot = Self {
            width: frame.width,
            height: frame.height,
            from,
            to,
            low: low - room,
            high: high + room,
            worst: 0.0,
            worst_x: 0.0,
            line: String::new(),
            area: String::new(),
            fall: String::new(),
            fall_area: String::new(),
            end: (0.0, 0.0),
            points: Vec::with_capacity(values.len()),
        };
        plot.place(&values);
        Some(plot)
    }

    fn place(&mut self, values: &[(f64, f64)]) {
        let mut peak = f64::NEG_INFINITY;
        for (at, equity) in values {
            peak = peak.max(*equity);
            let fall = if peak > 0.0 { equity / peak - 1.0 } else { 0.0 };
            let drawn = Drawn {
                x: self.x(*at),
                y: self.y(*equity),
                at: *at,
                equity: *equity,
                fall,
            };
            if fall < self.worst {
                (self.worst, self.worst_x) = (fall, drawn.x);
            }
            self.points.push(drawn);
        }
        let deepest = self.worst.min(-1e-6);
        let (top, room) = (self.strip_top(), STRIP_HEIGHT - 6.0);
        for (index, point) in self.points.iter().enumerate() {
            let step = if index == 0 { 'M' } else { 'L' };
            self.line += &format!("{step}{:.1} {:.1}", point.x, point.y);
            self.fall += &format!("{step}{:.1} {:.1}", point.x, top + point.fall / deepest * room);
        }
        let (first, last) = (self.points[0], self.points[self.points.len() - 1]);
        self.end = (last.x, last.y);
        let bottom = self.bottom();
        self.area = format!("{}V{bottom:.1}H{:.1}Z", self.line, first.x);
        self.fall_area = format!("{}V{top:.1}H{:.1}Z", self.fall, first.x);
    }

    /// Right edge of the plot, pixels.
    #[must_use]
    pub fn right(&self) -> f64 {
        self.width - AXIS_WIDTH
    }

    /// Bottom of the equity plot, pixels.
    #[must_use]
    pub fn bottom(&self) -> f64 {
        self.strip_top() - GAP
    }

    /// Zero of the drawdown strip, pixels.
    #[must_use]
    pub fn strip_top(&self) -> f64 {
        self.height - TIME_HEIGHT - STRIP_HEIGHT
    }

    fn x(&self, at: f64) -> f64 {
        ((at - self.from) / (self.to - self.from)).clamp(0.0, 1.0) * self.right()
    }

    /// Pixels from the left of an instant; `None` outside.
    #[must_use]
    pub fn x_of(&self, at: Timestamp) -> Option<f64> {
        let at = milliseconds(at);
        (at >= self.from && at <= self.to).then(|| self.x(at))
    }

    /// Pixels from the top of an amount.
    #[must_use]
    pub fn y(&self, dollars: f64) -> f64 {
        TOP + (self.high - dollars) / (self.high - self.low) * (self.bottom() - TOP)
    }

    /// The drawn point nearest to a place, pixels.
    #[must_use]
    pub fn nearest(&self, x: f64) -> Option<Drawn> {
        let after = self.points.partition_point(|point| point.x < x);
        let near = [after.checked_sub(1), Some(after)];
        let near = near
            .into_iter()
            .flatten()
            .filter_map(|index| self.points.get(index));
        near.min_by(|a, b| (a.x - x).abs().total_cmp(&(b.x - x).abs()))
            .copied()
    }

    /// Round amounts for the axis, and their pixels.
    #[must_use]
    pub fn amounts(&self) -> Vec<(f64, f64)> {
        let step = round_step((self.high - self.low) / 4.0);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last)
            .map(|index| index as f64 * step)
            .map(|dollars| (dollars, self.y(dollars)))
            .collect()
    }

    /// Round instants for the axis in milliseconds, and their pixels.
    #[must_use]
    pub fn instants(&self) -> Vec<(f64, f64)> {
        const MINUTE: f64 = 60_000.0;
        const STEPS: [f64; 14] = [
            0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 240.0, 720.0, 1_440.0, 7_200.0,
        ];
        let wanted = (self.to - self.from) / (self.right() / 110.0) / MINUTE;
        let step = STEPS.into_iter().find(|step| *step >= wanted).unwrap_or(7_200.0) * MINUTE;
        let first = (self.from / step).ceil() as i64;
        let last = (self.to / step).floor() as i64;
        (first..=last)
            .map(|index| index as f64 * step)
            .map(|at| (at, self.x(at)))
            .collect()
    }
}

/// The next of 1, 2, 2.5 and 5 times a power of ten, at least a cent.
fn round_step(wanted: f64) -> f64 {
    let power = 10_f64.powf(wanted.max(0.01).log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0]
        .into_iter()
        .find(|factor| factor * power >= wanted)
        .unwrap_or(10.0);
    (factor * power).max(0.01)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(second: i64, dollars: i64) -> EquityPoint {
        EquityPoint {
            at: Timestamp::from_second(second).unwrap(),
            equity: dollars.into(),
            cash: 0.into(),
        }
    }

    fn plot(points: &[EquityPoint], now: i64) -> Option<Plot> {
        let second = |second| Timestamp::from_second(second).unwrap();
        Plot::new(&Frame {
            width: 172.0,
            height: 200.0,
            points,
            now: (second(100), now.into()),
            from: second(0),
            to: second(200),
            baseline: 100.into(),
        })
    }

    #[test]
    fn the_end_is_now_and_the_worst_is_known() {
        let plot = plot(&[point(0, 100), point(50, 80)], 120).unwrap();
        assert_eq!(plot.end.0, 50.0);
        assert!((plot.worst + 0.2).abs() < 1e-9 && plot.worst_x == 25.0);
        assert!(
            plot.points
                .iter()
                .all(|point| point.y >= TOP && point.y <= plot.bottom())
        );
        assert_eq!(plot.nearest(30.0).unwrap().equity, 80.0);
    }

    #[test]
    fn one_instant_is_no_curve() {
        assert_eq!(plot(&[], 100), None);
    }

    #[test]
    fn axes_are_round() {
        assert_eq!(
            [0.003, 0.7, 1.7, 2.2, 40.0, 70.0].map(round_step),
            [0.01, 1.0, 2.0, 2.5, 50.0, 100.0]
        );
        let plot = plot(&[point(0, 100)], 101).unwrap();
        let amounts = plot.amounts();
        assert!((2..=7).contains(&amounts.len()), "{amounts:?}");
    }
}
