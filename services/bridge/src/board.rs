//! What `/healthz` and `/metrics` show, as the hub saw it a second ago at the most.

use std::fmt::Write as _;

use protocol::operator::{Health, HealthState};
use protocol::units::approximate;
use protocol::{Timestamp, WIRE_VERSION};
use serde::Serialize;

use crate::hub::Hub;

/// Name, kind and meaning of the bridge's own figures, in the order of [`Board::figures`].
const FIGURES: [(&str, &str, &str); 15] = [
    ("ledger_sequence", "counter", "Records of LEDGER in the fold."),
    ("equity_dollars", "gauge", "Cash and positions at their mark."),
    ("cash_dollars", "gauge", "Cash."),
    (
        "realized_dollars",
        "gauge",
        "Gains of what was closed, without commission.",
    ),
    (
        "unrealized_dollars",
        "gauge",
        "Gains of what is held, without commission.",
    ),
    ("commission_dollars", "counter", "What the broker took."),
    (
        "realized_today_dollars",
        "gauge",
        "Gains of what was closed today.",
    ),
    ("orders_today_count", "gauge", "Orders decided today."),
    ("open_positions_count", "gauge", "Symbols that are not flat."),
    ("open_orders_count", "gauge", "Orders that may still fill."),
    ("kill_switch", "gauge", "1 while the kill switch is latched."),
    ("browsers_count", "gauge", "Browsers that are signed in."),
    (
        "browser_events_total",
        "counter",
        "Events put into the browsers' queues.",
    ),
    ("browser_snapshots_total", "counter", "Snapshots made."),
    (
        "browser_overflows_total",
        "counter",
        "Times a browser was too slow.",
    ),
];

/// The bridge's figures and everybody's health.
#[derive(Debug, Clone, Default)]
pub struct Board {
    /// How the bridge itself is; absent before the first second.
    pub own: Option<(HealthState, String)>,
    /// The newest heartbeats.
    pub stages: Vec<Health>,
    /// The values of [`FIGURES`]; none before the first second.
    figures: Option<[f64; FIGURES.len()]>,
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    state: HealthState,
    #[serde(skip_serializing_if = "str::is_empty")]
    text: &'a str,
    wire: u32,
    at: Timestamp,
    stages: Vec<Stage<'a>>,
}

#[derive(Debug, Serialize)]
struct Stage<'a> {
    service: &'a str,
    instance: &'a str,
    state: HealthState,
    #[serde(skip_serializing_if = "str::is_empty")]
    text: &'a str,
    age_seconds: f64,
}

impl Board {
    /// Looks at the hub.
    #[must_use]
    pub fn of(hub: &Hub, state: HealthState, text: String) -> Self {
        let portfolio = &hub.portfolio;
        let price = |symbol| hub.quotes.get(&symbol).and_then(protocol::market::Quote::mark);
        let money = approximate;
        let realized = portfolio
            .positions
            .values()
            .map(|position| position.realized)
            .sum();
        let commission = portfolio
            .positions
            .values()
            .map(|position| position.commission)
            .sum();
        let figures = [
            portfolio.sequence as f64,
            money(portfolio.equity(price)),
            money(portfolio.cash),
            money(realized),
            money(portfolio.unrealized(price)),
            money(commission),
            money(portfolio.day.realized),
            f64::from(portfolio.day.orders),
            portfolio.open_positions().count() as f64,
            portfolio.open_orders().count() as f64,
            f64::from(u8::from(portfolio.killed)),
            hub.clients() as f64,
            hub.counts.events as f64,
            hub.counts.snapshots as f64,
            hub.counts.overflows as f64,
        ];
        Self {
            own: Some((state, text)),
            stages: hub.health.values().cloned().collect(),
            figures: Some(figures),
        }
    }

    /// The answer of `/healthz`: true when the bridge serves, and its JSON.
    #[must_use]
    pub fn healthz(&self, at: Timestamp) -> (bool, String) {
        let (state, text) = match &self.own {
            Some((state, text)) => (*state, text.as_str()),
            None => (HealthState::Starting, "starting"),
        };
        let stage = |health: &'_ Health| at.duration_since(health.at).as_secs_f64().max(0.0);
        let stages = self.stages.iter().map(|health| Stage {
            service: &health.service,
            instance: &health.instance,
            state: health.state,
            text: &health.text,
            age_seconds: (stage(health) * 1e3).round() / 1e3,
        });
        let answer = Answer {
            state,
            text,
            wire: WIRE_VERSION,
            at,
            stages: stages.collect(),
        };
        let body = serde_json::to_string_pretty(&answer).expect("plain data is always JSON");
        (state != HealthState::Starting, body + "\n")
    }

    /// The answer of `/metrics`, in Prometheus' text form.
    #[must_use]
    pub fn metrics(&self, at: Timestamp) -> String {
        let mut text = String::new();
        for ((name, kind, help), value) in FIGURES.iter().zip(self.figures.iter().flatten()) {
            figure(&mut text, (name, kind, help), [(String::new(), *value)]);
        }
        self.stage_metrics(at, &mut text);
        if let Some((resident, seconds)) = process() {
            let names = ("process_resident_bytes", "gauge", "Memory of the bridge.");
            figure(&mut text, names, [(String::new(), resident)]);
            let names = (
                "process_cpu_seconds_total",
                "counter",
                "Processor time of the bridge.",
            );
            figure(&mut text, names, [(String::new(), seconds)]);
        }
        text
    }

    fn stage_metrics(&self, at: Timestamp, text: &mut String) {
        let label = |health: &Health| {
            let (service, instance) = (plain(&health.service), plain(&health.instance));
            format!("service=\"{service}\",instance=\"{instance}\"")
        };
        let ready = self.stages.iter().map(|health| {
            let ready = health.state == HealthState::Ready;
            (format!("{{{}}}", label(health)), f64::from(u8::from(ready)))
        });
        let names = ("stage_ready", "gauge", "1 while the stage says that it is ready.");
        figure(text, names, ready);
        let age = self.stages.iter().map(|health| {
            let age = at.duration_since(health.at).as_secs_f64();
            (format!("{{{}}}", label(health)), age)
        });
        let names = (
            "stage_heartbeat_age_seconds",
            "gauge",
            "Time since the stage's last heartbeat.",
        );
        figure(text, names, age);
        let figures = self.stages.iter().flat_map(|health| {
            let line = move |(name, value): (&String, &f64)| {
                (
                    format!("{{{},figure=\"{}\"}}", label(health), plain(name)),
                    *value,
                )
            };
            health.figures.iter().map(line)
        });
        let help = "A figure of a stage's heartbeat; its name ends with its unit.";
        figure(text, ("stage_figure", "gauge", help), figures);
    }
}

/// Writes one figure: its names, then its lines, each of labels and a value.
fn figure(
    text: &mut String,
    (name, kind, help): (&str, &str, &str),
    lines: impl IntoIterator<Item = (String, f64)>,
) {
    // Writing to a String can't fail.
    let _ = writeln!(
        text,
        "# HELP tradewind_{name} {help}\n# TYPE tradewind_{name} {kind}"
    );
    for (labels, value) in lines {
        let _ = writeln!(text, "tradewind_{name}{labels} {value}");
    }
}

/// A label's value without what would end it.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_graphic() && *c != '"' && *c != '\\')
        .collect()
}

/// Resident bytes and processor seconds of this process, where the system tells them in /proc.
fn process() -> Option<(f64, f64)> {
    /// Bytes of a page and ticks of a second on every Linux that this runs on; other systems have no such
    /// files.
    const PAGE_BYTES: f64 = 4_096.0;
    const TICKS: f64 = 100.0;
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let resident: f64 = pages.split_whitespace().nth(1)?.parse().ok()?;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the process is in brackets and may hold blanks.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some((resident * PAGE_BYTES, ticks / TICKS))
}
