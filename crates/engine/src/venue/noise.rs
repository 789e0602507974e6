//! Seeded noise as a pure function: the same seed and place give the same value for ever, on every machine.
//!
//! The synthetic market is a function of the clock, not a walk that somebody must remember. That is why a
//! gateway that was killed goes on with the very prices it would have shown, and why its history never changes.

/// Mixes a 64-bit value (splitmix64's finisher): neighbouring inputs give unrelated outputs.
#[must_use]
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A hash of a seed and a place on a lattice.
#[must_use]
pub fn at(seed: u64, place: i64) -> u64 {
    mix(seed ^ mix(place as u64))
}

/// A seed made of another seed and a name, such as a symbol.
#[must_use]
pub fn seed_of(seed: u64, name: &str) -> u64 {
    name.bytes()
        .fold(mix(seed), |sum, byte| mix(sum ^ u64::from(byte)))
}

/// A hash as a fraction, 0 up to but without 1.
#[must_use]
pub fn fraction(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

/// Smooth noise between -1 and 1 along a lattice of some period. It remembers the cell it looked at last, which spares
/// whoever goes along it most of the work and changes no value.
#[derive(Debug, Clone)]
pub struct Lattice {
    seed: u64,
    period: f64,
    cell: i64,
    ends: (f64, f64),
}

impl Lattice {
    /// A lattice of the given period.
    #[must_use]
    pub fn new(seed: u64, period: f64) -> Self {
        Self {
            seed,
            period,
            cell: 0,
            ends: (value(seed, 0), value(seed, 1)),
        }
    }

    /// The noise at a place, in the unit of the period.
    pub fn at(&mut self, place: f64) -> f64 {
        let x = place / self.period;
        let cell = x.floor();
        let within = x - cell;
        if self.cell != cell as i64 {
            self.cell = cell as i64;
            self.ends = (value(self.seed, self.cell), value(self.seed, self.cell + 1));
        }
        let (left, right) = self.ends;
        left + (right - left) * within * within * (3.0 - 2.0 * within)
    }
}

/// Noise between -1 and 1 that goes straight from one multiple of the period to the next.
#[must_use]
pub fn straight(seed: u64, place: i64, period: i64) -> f64 {
    let cell = place.div_euclid(period);
    let (left, right) = (value(seed, cell), value(seed, cell + 1));
    left + (right - left) * place.rem_euclid(period) as f64 / period as f64
}

fn value(seed: u64, place: i64) -> f64 {
    fraction(at(seed, place)) * 2.0 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_a_function_of_its_place() {
        assert_eq!(at(7, 12), at(7, 12));
        assert_ne!(at(7, 12), at(8, 12));
        assert_ne!(seed_of(1, "AAPL"), seed_of(1, "NVDA"));
        let mut along = Lattice::new(3, 8.0);
        for step in 0..2_000 {
            let place = f64::from(step) * 0.37;
            let value = along.at(place);
            assert!((-1.0..=1.0).contains(&value), "{value}");
            assert_eq!(value.to_bits(), Lattice::new(3, 8.0).at(place).to_bits());
        }
    }
}
