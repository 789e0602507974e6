//! Settings with which a pipeline decides as often as it can: for the bench and the tests of the whole.

use protocol::Money;
use protocol::decision::Regime;
use protocol::market::BarSize;
use protocol::settings::Settings;

/// A bar every five seconds, entries in every regime and at once after an exit, and no limit near.
pub fn eager(settings: &mut Settings) {
    settings.market.bar_size = BarSize::FIVE_SECONDS;
    settings.entry.regimes = vec![Regime::Bull, Regime::Bear, Regime::Sideways, Regime::Volatile];
    settings.entry.cooldown_bars = 0;
    settings.exits.regimes = Vec::new();
    settings.risk.gross_notional_max = Money::new(10_000_000, 0);
    settings.risk.trades_per_symbol_per_day_max = 1_000_000;
    settings.risk.orders_per_minute_max = 1_000_000;
    settings.risk.duplicate_window_seconds = 0;
    settings.risk.daily_loss_max = Money::new(10_000_000, 0);
}
