//! What can be said of a message without knowing what it is for: enough to tell which faults mean it.

use prost::Message;

use crate::message::account::{
    CommissionAndFeesReport, ErrorMessage, ExecutionDetails, OpenOrder, OrderStatus,
};
use crate::message::request::Numbered;
use crate::message::shared::Contract;
use crate::peer::NO_REQUEST;
use crate::request::Request;
use crate::wire;

/// Whether a message comes from a client or goes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    In,
    Out,
}

/// One message that passes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Facts {
    /// The client that sends or gets it.
    pub(crate) client: i32,
    pub(crate) way: Way,
    pub(crate) number: i32,
    /// The client that owns the order, where the message names one.
    pub(crate) owner: Option<i32>,
    pub(crate) order_id: Option<i32>,
    pub(crate) order_ref: Option<String>,
    pub(crate) symbol: Option<String>,
    pub(crate) status: Option<String>,
    /// Code of an error or a notice.
    pub(crate) code: Option<i32>,
    pub(crate) request_id: Option<i32>,
    pub(crate) execution: Option<String>,
}

impl Facts {
    fn new(client: i32, way: Way, number: i32) -> Self {
        Self {
            client,
            way,
            number,
            owner: None,
            order_id: None,
            order_ref: None,
            symbol: None,
            status: None,
            code: None,
            request_id: None,
            execution: None,
        }
    }

    fn of_order(
        &mut self,
        owner: Option<i32>,
        order_id: Option<i32>,
        order_ref: Option<String>,
        contract: Option<Contract>,
    ) {
        self.owner = owner;
        self.order_id = order_id;
        self.order_ref = order_ref;
        self.symbol = contract.and_then(|contract| contract.symbol);
    }

    /// What a request is about.
    pub(crate) fn of_request(client: i32, number: i32, request: &Request) -> Self {
        let mut facts = Self::new(client, Way::In, number);
        match request {
            Request::PlaceOrder(place) => {
                let terms = place.order.as_ref();
                let reference = terms.and_then(|terms| terms.order.order_ref.clone());
                facts.of_order(Some(client), place.order_id, reference, place.contract.clone());
            }
            Request::CancelOrder(cancel) => {
                facts.owner = Some(client);
                facts.order_id = cancel.order_id;
            }
            Request::HistoricalData(request) => facts.request_id = request.req_id,
            Request::HeadTimestamp(request) => facts.request_id = request.req_id,
            Request::HistoricalTicks(request) => facts.request_id = request.req_id,
            Request::Histogram(request) => facts.request_id = request.req_id,
            Request::MarketData(request) => facts.request_id = request.req_id,
            Request::TickByTick(request) => facts.request_id = request.req_id,
            Request::RealTimeBars(request) => facts.request_id = request.req_id,
            Request::MarketDepth(request) => facts.request_id = request.req_id,
            _ => {}
        }
        facts
    }

    /// What a frame is about; `None` for what is no frame.
    pub(crate) fn of_frame(client: i32, frame: &[u8]) -> Option<Self> {
        let (number, body, _) = wire::frames(frame).next()?;
        let mut facts = Self::new(client, Way::Out, number);
        match number {
            3 => {
                let status = OrderStatus::decode(body).ok()?;
                facts.owner = status.client_id;
                facts.order_id = status.order_id;
                facts.status = status.status;
            }
            4 => {
                let error = ErrorMessage::decode(body).ok()?;
                facts.code = error.error_code;
                facts.request_id = error.id;
                facts.order_id = error.id.filter(|id| *id != NO_REQUEST);
                facts.owner = facts.order_id.map(|_| client);
            }
            5 => {
                let open = OpenOrder::decode(body).ok()?;
                let order = open.order.unwrap_or_default();
                facts.of_order(order.client_id, open.order_id, order.order_ref, open.contract);
                facts.status = open.order_state.and_then(|state| state.status);
            }
            11 => {
                let details = ExecutionDetails::decode(body).ok()?;
                let execution = details.execution.unwrap_or_default();
                let (owner, order_id) = (execution.client_id, execution.order_id);
                facts.of_order(owner, order_id, execution.order_ref, details.contract);
                facts.execution = execution.exec_id;
            }
            59 => facts.execution = CommissionAndFeesReport::decode(body).ok()?.exec_id,
            // The first field of most others is a request's number; where it is something else, it matches nothing.
            _ => {
                facts.request_id = Numbered::decode(body).ok().and_then(|numbered| numbered.req_id);
            }
        }
        Some(facts)
    }
}
