//! What is said at the end: one table of latencies with their floor, and one of costs with their goals.

use std::collections::BTreeSet;
use std::fmt;

use crate::feed::Sample;
use crate::usage::{Process, Usage};
use crate::witness::{self, Frames, Heard, Messages, Traced, Way};

/// Begin and end of a part of the way.
type Leg = fn(&Way) -> (u128, u128);

/// Goal for all processes but the paper gateway, in megabytes.
const MEGABYTES_GOAL: f64 = 300.0;
/// Goal for the same, in percent of one core.
const CPU_PERCENT_GOAL: f64 = 25.0;
/// Samples from which on a hundredth of them is more than a handful.
const SAMPLES_FOR_P99: usize = 1_000;

/// Everything that was measured.
pub struct Report {
    begin: u128,
    heard: Heard,
    floor: Vec<Sample>,
    usage: Usage,
    sizes: String,
    ways: Vec<Way>,
}

impl Report {
    /// A report that lacks the gateway's trace.
    pub fn new(
        begin: u128,
        heard: Heard,
        floor: Vec<Sample>,
        usage: Usage,
        messages: Messages,
        frames: Frames,
    ) -> Self {
        let intent = serde_json::to_vec(&messages.intent).map_or(0, |json| json.len());
        let sizes = format!(
            "bytes on the way, in both: bar frame {}, bar {}, signal {}, record {intent}, order frame {}",
            frames.bar, messages.bar, messages.signal, frames.order
        );
        Self {
            begin,
            heard,
            floor,
            usage,
            sizes,
            ways: Vec::new(),
        }
    }

    /// Joins with the trace.
    ///
    /// # Errors
    /// When no order of the time that was measured is in it.
    pub fn with_trace(mut self, traced: &Traced) -> anyhow::Result<Self> {
        self.ways = witness::ways(&self.heard, traced, self.begin);
        anyhow::ensure!(
            !self.ways.is_empty() && !self.floor.is_empty(),
            "no order followed from a bar while it was measured: measure longer with --seconds"
        );
        Ok(self)
    }

    fn latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pipeline: Vec<Sample> = self.ways.iter().map(sample).collect();
        writeln!(
            f,
            "bar close at the gateway to order bytes back at the gateway, microseconds"
        )?;
        writeln!(
            f,
            "  {:<42} {:>7} {:>9} {:>9} {:>9}",
            "", "samples", "p50", "p99", "most"
        )?;
        pair(f, "every order", &pipeline, &self.floor)?;
        pair(
            f,
            "the first order after its bars",
            &first(&pipeline),
            &first(&self.floor),
        )?;
        let bursts = bursts(&pipeline);
        writeln!(
            f,
            "  {bursts} bursts of bars led to orders, {:.1} orders each; {}",
            pipeline.len() as f64 / bursts.max(1) as f64,
            self.sizes
        )?;
        if pipeline.len() < SAMPLES_FOR_P99 {
            writeln!(
                f,
                "  p99 of {} samples rests on the {} slowest: read it as a hint",
                pipeline.len(),
                pipeline.len() / 100 + 1
            )?;
        }
        self.legs(f)
    }

    /// Where the time goes, for the first orders, which wait for no other.
    fn legs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut seen = BTreeSet::new();
        let ways: Vec<_> = self.ways.iter().filter(|way| seen.insert(way.burst)).collect();
        writeln!(
            f,
            "\nwhere the time of the first order goes, p50 in microseconds, as a bystander hears it on the bus"
        )?;
        let legs: [(&str, Leg); 4] = [
            ("market-data: bar at the socket to bar on the bus", |way| {
                (way.written, way.heard[0])
            }),
            ("signal: to signal on the bus", |way| (way.heard[0], way.heard[1])),
            ("execution: to intent on the bus", |way| {
                (way.heard[1], way.heard[2])
            }),
            ("LEDGER and witness synced, order at the socket", |way| {
                (way.heard[2], way.read)
            }),
        ];
        for (name, leg) in legs {
            let micros = ways.iter().map(|way| {
                let (from, to) = leg(way);
                between(from, to)
            });
            writeln!(f, "  {name:<50} {:>9.0}", quantile(&sorted(micros), 0.5))?;
        }
        Ok(())
    }

    fn costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usage = &self.usage;
        if usage.processes.is_empty() {
            return writeln!(
                f,
                "\nmemory and CPU are read from /proc, which this system has not"
            );
        }
        writeln!(
            f,
            "\ncost over {:.0} s: 19 symbols, quotes and trades at the default rate, bars of 5 s, no browser",
            usage.seconds
        )?;
        writeln!(
            f,
            "  {:<28} {:>11} {:>11} {:>15}",
            "", "resident MB", "most MB", "% of one core"
        )?;
        let (others, gateway): (Vec<_>, Vec<_>) = usage
            .processes
            .iter()
            .partition(|process| process.name != "paper-gateway");
        for process in &others {
            cost(f, usage, process.name, &[process])?;
        }
        cost(f, usage, "all of these", &others)?;
        writeln!(
            f,
            "  {:<28} {MEGABYTES_GOAL:>11.1} {:>11} {CPU_PERCENT_GOAL:>15.1}",
            "goal, under", ""
        )?;
        cost(f, usage, "paper-gateway, beside them", &gateway)?;
        cost(
            f,
            usage,
            "everything",
            &usage.processes.iter().collect::<Vec<_>>(),
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        self.latencies(f)?;
        self.costs(f)
    }
}

fn pair(f: &mut fmt::Formatter<'_>, what: &str, pipeline: &[Sample], floor: &[Sample]) -> fmt::Result {
    let micros = |samples: &[Sample]| sorted(samples.iter().map(|sample| sample.micros));
    let (pipeline, floor) = (micros(pipeline), micros(floor));
    for (name, sorted) in [("pipeline", &pipeline), ("floor", &floor)] {
        let most = sorted.last().copied().unwrap_or(f64::NAN);
        let (p50, p99) = (quantile(sorted, 0.5), quantile(sorted, 0.99));
        let name = format!("{what}: {name}");
        writeln!(
            f,
            "  {name:<42} {:>7} {p50:>9.0} {p99:>9.0} {most:>9.0}",
            sorted.len()
        )?;
    }
    let ratio = |part| quantile(&pipeline, part) / quantile(&floor, part);
    let name = format!("{what}: pipeline / floor");
    writeln!(
        f,
        "  {name:<42} {:>7} {:>8.2}x {:>8.2}x",
        "",
        ratio(0.5),
        ratio(0.99)
    )
}

fn cost(f: &mut fmt::Formatter<'_>, usage: &Usage, name: &str, processes: &[&Process]) -> fmt::Result {
    let megabytes =
        |of: fn(&Process) -> u64| processes.iter().map(|process| of(process) as f64).sum::<f64>() / 1024.0;
    let cpu: f64 = processes.iter().map(|process| process.cpu_seconds).sum();
    writeln!(
        f,
        "  {name:<28} {:>11.1} {:>11.1} {:>15.1}",
        megabytes(|process| process.resident_kb),
        megabytes(|process| process.resident_kb_most),
        cpu / usage.seconds * 100.0
    )
}

fn sample(way: &Way) -> Sample {
    Sample {
        burst: way.burst.unsigned_abs(),
        micros: between(way.written, way.read),
    }
}

fn between(from: u128, to: u128) -> f64 {
    // Differences are small; the instants themselves have more digits than a float.
    (to as i128 - from as i128) as f64 / 1e3
}

/// The first sample of each burst: an order that waited for no other.
fn first(samples: &[Sample]) -> Vec<Sample> {
    let mut seen = BTreeSet::new();
    let new = samples.iter().filter(|sample| seen.insert(sample.burst));
    new.copied().collect()
}

fn bursts(samples: &[Sample]) -> usize {
    let bursts: BTreeSet<_> = samples.iter().map(|sample| sample.burst).collect();
    bursts.len()
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The smallest value that at least this part of all values does not exceed; not a number when there is none.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let rank = (part * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples_and_firsts_are_first() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!((quantile(&values, 0.5), quantile(&values, 0.99)), (100.0, 198.0));
        assert!(quantile(&[], 0.5).is_nan());
        let sample = |burst, micros| Sample { burst, micros };
        let samples = [sample(1, 9.0), sample(1, 12.0), sample(2, 7.0)];
        assert_eq!(first(&samples), [sample(1, 9.0), sample(2, 7.0)]);
        assert_eq!(bursts(&samples), 2);
    }
}
