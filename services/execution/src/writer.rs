//! What goes out: records to LEDGER and the witness, orders to the broker. An order is written in one place, once, right
//! after the last look.

use std::collections::VecDeque;
use std::time::Instant;

use engine::desk::{Deed, End};
use engine::trader::Draft;
use protocol::ledger::{Entry, Intent, Record};
use protocol::{Id, Timestamp, subject};
use runtime::{Context, now};

use crate::leader::{Contradiction, Leader, again, doubt};

impl Leader {
    /// Does what was decided, in its order.
    pub async fn perform(&mut self, context: &Context, deeds: Vec<Deed>) -> anyhow::Result<()> {
        let decided = Instant::now();
        let mut deeds = VecDeque::from(deeds);
        while let Some(deed) = deeds.pop_front() {
            match deed {
                Deed::Append(epoch, draft) => {
                    if let Some(record) = self.append(epoch, draft).await?
                        && let Entry::Intent(intent) = record.entry
                    {
                        let follows = self.send(decided, record.id, record.at, intent).await?;
                        follows.into_iter().rev().for_each(|deed| deeds.push_front(deed));
                    }
                }
                Deed::Cancel(order_id) => {
                    self.broker.cancel(order_id).await.map_err(doubt)?;
                }
                Deed::Refuse(refusal) => {
                    tracing::info!(symbol = refusal.symbol.as_str(), check = ?refusal.check, "{}", refusal.text);
                    let told = context
                        .bus
                        .publish(subject::refusal(refusal.symbol), &refusal)
                        .await;
                    told.map_err(doubt)?;
                }
                Deed::Alert(alert) => context.bus.send_alert(&alert).await,
                Deed::Reply(reply) => {
                    if let Some(request) = self.asked.get(&reply.id) {
                        request.reply(&self.desk.trader.answer(reply)).await;
                    }
                }
                Deed::Read(pass) => {
                    let folded = self.desk.trader.portfolio.sequence;
                    self.ears.readings.begin(&self.broker, folded, pass);
                }
                Deed::Look(pass, ms) => self.ears.readings.look_in(pass, ms),
                Deed::Trade => self.trading = true,
                Deed::End(End::Again(text)) => return Err(again(text)),
                Deed::End(End::Contradiction(text)) => return Err(Contradiction(text).into()),
            }
        }
        Ok(())
    }

    /// Appends a record, if it says anything new: to LEDGER and to the witness side by side; both must have it. An
    /// intent is only recorded by it: `perform` sends.
    async fn append(&mut self, epoch: u64, draft: Draft) -> anyhow::Result<Option<Record>> {
        let Some((record, memory)) = self.desk.record(epoch, draft) else {
            return Ok(None);
        };
        let pending = match &record.entry {
            Entry::Intent(intent) => Some(format!("{} order id {}", record.id, intent.order_id)),
            _ => None,
        };
        let (appended, witnessed) =
            tokio::join!(self.ledger.append(record), self.witness.remember(memory, pending));
        let appended = appended.map_err(|error| again(error.to_string()))?;
        witnessed.map_err(doubt)?;
        let trader = &mut self.desk.trader;
        let applied = trader.applied(appended.sequence, &appended.hash, &appended.record, now());
        applied.map_err(|fault| again(fault.to_string()))?;
        Ok(Some(appended.record))
    }

    /// Writes an order to the broker: the one place that does. The append may have taken its time, so kill switch, link
    /// and position are looked at now, and nothing comes between this look and the write. What follows when the order
    /// may not leave is returned.
    async fn send(
        &mut self,
        decided: Instant,
        id: Id,
        at: Timestamp,
        intent: Intent,
    ) -> anyhow::Result<Vec<Deed>> {
        self.listen();
        let latched = self.latch.is_set();
        let passed = self
            .desk
            .pass(now(), latched, decided.elapsed(), &id, at, &intent);
        if let Err(follows) = passed {
            return Ok(follows);
        }
        let sent = self.broker.submit(&id, &intent).await;
        sent.map_err(doubt)?;
        self.sent += 1;
        tracing::info!(id = id.as_str(), symbol = intent.symbol.as_str(), side = ?intent.side,
                quantity = intent.quantity.to_string(), reason = ?intent.reason, "order sent");
        Ok(Vec::new())
    }
}
