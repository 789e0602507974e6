//! The terms of an order as a client sends them: every field of IB's message, and what becomes of it.

use bytes::Buf;
use prost::encoding::{DecodeContext, WireType, bytes as text, decode_varint, double, skip_field};
use prost::{DecodeError, Message};

use super::shared::Order;

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// The order trades as it says.
    Honoured,
    /// It changes nothing about how the order trades here.
    Ignored,
    /// It would change how the order trades and is not done here, so an order that sets it is none.
    Refused,
}

use Use::{Honoured, Ignored, Refused};

/// All fields, in order of their numbers from 1 on.
const FIELDS: [(&str, Use); 145] = [
    ("clientId", Ignored),
    ("orderId", Ignored),
    ("permId", Ignored),
    ("parentId", Honoured),
    ("action", Honoured),
    ("totalQuantity", Honoured),
    ("displaySize", Refused),
    ("orderType", Honoured),
    ("lmtPrice", Honoured),
    ("auxPrice", Honoured),
    ("tif", Honoured),
    ("account", Honoured),
    ("settlingFirm", Ignored),
    ("clearingAccount", Ignored),
    ("clearingIntent", Ignored),
    ("allOrNone", Refused),
    ("blockOrder", Refused),
    ("hidden", Refused),
    ("outsideRth", Honoured),
    ("sweepToFill", Refused),
    ("percentOffset", Refused),
    ("trailingPercent", Honoured),
    ("trailStopPrice", Honoured),
    ("minQty", Refused),
    ("goodAfterTime", Refused),
    ("goodTillDate", Honoured),
    ("ocaGroup", Honoured),
    ("orderRef", Honoured),
    ("rule80A", Ignored),
    ("ocaType", Honoured),
    ("triggerMethod", Honoured),
    ("activeStartTime", Refused),
    ("activeStopTime", Refused),
    ("faGroup", Refused),
    ("faMethod", Refused),
    ("faPercentage", Refused),
    ("volatility", Ignored),
    ("volatilityType", Ignored),
    ("continuousUpdate", Ignored),
    ("referencePriceType", Ignored),
    ("deltaNeutralOrderType", Refused),
    ("deltaNeutralAuxPrice", Ignored),
    ("deltaNeutralConId", Ignored),
    ("deltaNeutralOpenClose", Ignored),
    ("deltaNeutralShortSale", Ignored),
    ("deltaNeutralShortSaleSlot", Ignored),
    ("deltaNeutralDesignatedLocation", Ignored),
    ("scaleInitLevelSize", Refused),
    ("scaleSubsLevelSize", Refused),
    ("scalePriceIncrement", Refused),
    ("scalePriceAdjustValue", Ignored),
    ("scalePriceAdjustInterval", Ignored),
    ("scaleProfitOffset", Ignored),
    ("scaleAutoReset", Ignored),
    ("scaleInitPosition", Ignored),
    ("scaleInitFillQty", Ignored),
    ("scaleRandomPercent", Ignored),
    ("scaleTable", Refused),
    ("hedgeType", Refused),
    ("hedgeParam", Ignored),
    ("algoStrategy", Refused),
    ("algoParams", Ignored),
    ("algoId", Ignored),
    ("smartComboRoutingParams", Ignored),
    ("whatIf", Honoured),
    ("transmit", Honoured),
    ("overridePercentageConstraints", Ignored),
    ("openClose", Ignored),
    ("origin", Ignored),
    ("shortSaleSlot", Ignored),
    ("designatedLocation", Ignored),
    ("exemptCode", Ignored),
    ("deltaNeutralSettlingFirm", Ignored),
    ("deltaNeutralClearingAccount", Ignored),
    ("deltaNeutralClearingIntent", Ignored),
    ("discretionaryAmt", Refused),
    ("optOutSmartRouting", Ignored),
    ("startingPrice", Ignored),
    ("stockRefPrice", Ignored),
    ("delta", Ignored),
    ("stockRangeLower", Ignored),
    ("stockRangeUpper", Ignored),
    ("notHeld", Refused),
    ("orderMiscOptions", Ignored),
    ("solicited", Ignored),
    ("randomizeSize", Refused),
    ("randomizePrice", Refused),
    ("referenceContractId", Ignored),
    ("peggedChangeAmount", Ignored),
    ("isPeggedChangeAmountDecrease", Ignored),
    ("referenceChangeAmount", Ignored),
    ("referenceExchangeId", Ignored),
    ("adjustedOrderType", Refused),
    ("triggerPrice", Ignored),
    ("adjustedStopPrice", Ignored),
    ("adjustedStopLimitPrice", Ignored),
    ("adjustedTrailingAmount", Ignored),
    ("adjustableTrailingUnit", Ignored),
    ("lmtPriceOffset", Honoured),
    ("conditions", Refused),
    ("conditionsCancelOrder", Ignored),
    ("conditionsIgnoreRth", Ignored),
    ("modelCode", Refused),
    ("extOperator", Ignored),
    ("softDollarTier", Ignored),
    ("cashQty", Refused),
    ("mifid2DecisionMaker", Ignored),
    ("mifid2DecisionAlgo", Ignored),
    ("mifid2ExecutionTrader", Ignored),
    ("mifid2ExecutionAlgo", Ignored),
    ("dontUseAutoPriceForHedge", Ignored),
    ("isOmsContainer", Refused),
    ("discretionaryUpToLimitPrice", Refused),
    ("autoCancelDate", Refused),
    ("filledQuantity", Ignored),
    ("refFuturesConId", Ignored),
    ("autoCancelParent", Refused),
    ("shareholder", Ignored),
    ("imbalanceOnly", Refused),
    ("routeMarketableToBbo", Ignored),
    ("parentPermId", Ignored),
    ("usePriceMgmtAlgo", Refused),
    ("duration", Refused),
    ("postToAts", Refused),
    ("advancedErrorOverride", Ignored),
    ("manualOrderTime", Ignored),
    ("minTradeQty", Refused),
    ("minCompeteSize", Refused),
    ("competeAgainstBestOffset", Refused),
    ("midOffsetAtWhole", Refused),
    ("midOffsetAtHalf", Refused),
    ("customerAccount", Ignored),
    ("professionalCustomer", Ignored),
    ("bondAccruedInterest", Ignored),
    ("includeOvernight", Refused),
    ("manualOrderIndicator", Ignored),
    ("submitter", Ignored),
    ("deactivate", Refused),
    ("postOnly", Refused),
    ("allowPreOpen", Refused),
    ("ignoreOpenAuction", Refused),
    ("seekPriceImprovement", Refused),
    ("whatIfType", Refused),
    ("hedgeMaxSize", Ignored),
    ("conditionsIncludeOvernight", Ignored),
];

/// An order's terms: the fields that count, and the first one that is set and refused.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Terms {
    pub(crate) order: Order,
    pub(crate) refused: Option<String>,
}

impl From<Order> for Terms {
    fn from(order: Order) -> Self {
        Self { order, refused: None }
    }
}

impl Message for Terms {
    fn encode_raw(&self, buffer: &mut impl bytes::BufMut) {
        self.order.encode_raw(buffer);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        let place = usize::try_from(tag).unwrap_or(usize::MAX).wrapping_sub(1);
        match FIELDS.get(place) {
            Some((_, Honoured)) => return self.order.merge_field(tag, wire_type, buffer, context),
            Some((_, Ignored)) => return skip_field(wire_type, tag, buffer, context),
            field => {
                // A field that is younger than this list may mean anything.
                let name = field.map_or_else(|| tag.to_string(), |(name, _)| (*name).to_owned());
                if is_set(tag, wire_type, buffer, context)? {
                    self.refused.get_or_insert(name);
                }
            }
        }
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        self.order.encoded_len()
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Reads a field, and says whether it has a value: not zero, not empty and not one that stands for none.
fn is_set(
    tag: u32,
    wire_type: WireType,
    buffer: &mut impl Buf,
    context: DecodeContext,
) -> Result<bool, DecodeError> {
    Ok(match wire_type {
        WireType::Varint => {
            let value = decode_varint(buffer)?.cast_signed();
            ![0, i64::from(i32::MAX), i64::MAX].contains(&value)
        }
        WireType::SixtyFourBit => {
            let mut value = 0.0;
            double::merge(wire_type, &mut value, buffer, context)?;
            value != 0.0 && value != f64::MAX
        }
        WireType::LengthDelimited => {
            let mut value = Vec::new();
            text::merge(wire_type, &mut value, buffer, context)?;
            !value.is_empty()
        }
        _ => {
            skip_field(wire_type, tag, buffer, context)?;
            true
        }
    })
}
