//! What goes out: records to LEDGER and the witness, orders to the broker. An order is written in one place, once, right
//! after the last gate.

use std::time::Instant;

use engine::gate::{Moment, Unsent};
use engine::trader::{Draft, Output};
use protocol::ledger::{Entry, Intent, Record};
use protocol::{Id, Timestamp, subject};
use runtime::{Context, now};

use crate::desk::{Desk, again};
use crate::witness::Memory;

impl Desk {
    /// Does what was decided, in its order.
    pub async fn perform(&mut self, context: &Context, outputs: Vec<Output>) -> anyhow::Result<()> {
        let decided = Instant::now();
        for output in outputs {
            match output {
                Output::Append(draft) if !self.trader.is_new(&draft) => {}
                Output::Append(draft) => {
                    let record = self.append(draft).await?;
                    if let Entry::Intent(intent) = record.entry
                        && let Some(unsent) = self.send(decided, record.id, record.at, intent).await?
                    {
                        self.note_unsent(context, &unsent).await?;
                        // What can't be sent by this incarnation, the next one may decide anew.
                        self.link.alive().map_err(again)?;
                    }
                }
                Output::Cancel(order_id) => {
                    self.broker
                        .cancel(order_id)
                        .await
                        .map_err(|error| again(format!("{error:#}")))?;
                }
                Output::Refuse(refusal) => {
                    tracing::info!(symbol = refusal.symbol.as_str(), check = ?refusal.check, "{}", refusal.text);
                    context
                        .bus
                        .publish(subject::refusal(refusal.symbol), &refusal)
                        .await?;
                }
                Output::Alert(alert) => context.bus.send_alert(&alert).await,
                Output::Reply(reply) => {
                    if let Some(request) = self.asked.get(&reply.id) {
                        request.reply(&reply).await;
                    }
                }
            }
        }
        Ok(())
    }

    async fn note_unsent(&mut self, context: &Context, unsent: &Unsent) -> anyhow::Result<()> {
        for output in self.trader.never_sent(now(), unsent) {
            match output {
                Output::Append(draft) => drop(self.append(draft).await?),
                Output::Alert(alert) => context.bus.send_alert(&alert).await,
                _ => {}
            }
        }
        Ok(())
    }

    /// Appends a record of this epoch. An intent is only recorded by it: `perform` sends.
    pub async fn append(&mut self, draft: Draft) -> anyhow::Result<Record> {
        self.append_as(self.trader.portfolio.epoch, draft).await
    }

    /// Appends a record of `epoch`: to LEDGER and to the witness side by side; both must have it.
    pub async fn append_as(&mut self, epoch: u64, draft: Draft) -> anyhow::Result<Record> {
        let record = draft.record(epoch);
        let pending = match &record.entry {
            Entry::Intent(intent) => {
                self.order_id_max = self.order_id_max.max(intent.order_id);
                Some(format!("{} order id {}", record.id, intent.order_id))
            }
            _ => None,
        };
        let memory = Memory {
            sequence: self.ledger.sequence(),
            hash: self.ledger.hash().clone(),
            order_id_max: self.order_id_max,
        };
        let (appended, witnessed) =
            tokio::join!(self.ledger.append(record), self.witness.remember(memory, pending));
        let appended = appended.map_err(|error| again(error.to_string()))?;
        witnessed.map_err(|error| again(format!("{error:#}")))?;
        let applied = self
            .trader
            .applied(appended.sequence, &appended.hash, &appended.record, now());
        applied.map_err(|fault| again(fault.to_string()))?;
        Ok(appended.record)
    }

    /// Writes an order to the broker: the one place that does. The append may have taken its time, so kill switch, link
    /// and position are looked at now, and nothing comes between the last gate and the write.
    async fn send(
        &mut self,
        decided: Instant,
        id: Id,
        at: Timestamp,
        intent: Intent,
    ) -> anyhow::Result<Option<Unsent>> {
        let link = self.link.reason(&self.broker);
        let moment = Moment {
            at,
            waited: decided.elapsed(),
            killed: self.latch.is_set() || self.trader.killed(),
            closed: self.trader.closed(now()).or(link.as_deref()),
            portfolio: &self.trader.portfolio,
        };
        if let Err(why) = self.last_gate.pass(&moment, &id, &intent) {
            return Ok(Some(Unsent { id, intent, why }));
        }
        let sent = self.broker.submit(&id, &intent).await;
        sent.map_err(|error| again(format!("{error:#}")))?;
        self.sent += 1;
        tracing::info!(id = id.as_str(), symbol = intent.symbol.as_str(), side = ?intent.side,
                quantity = intent.quantity.to_string(), reason = ?intent.reason, "order sent");
        Ok(None)
    }
}
