"""A connection with IB's own client, `ibapi`, that writes down what it is told and waits for it with a deadline.

`ibapi` calls back in a thread of its own, in the order of the wire. `Client` keeps every call as an event, so
that a program can ask in one line and wait for the answer in the next:

    client = connect("127.0.0.1", 4010, client_id=1)
    client.reqCurrentTime()
    print(client.wait("currentTime").time)
"""

import collections
import inspect
import logging
import threading
import time
from types import SimpleNamespace

from ibapi.client import EClient
from ibapi.contract import Contract
from ibapi.wrapper import EWrapper

WAIT_SECONDS_MAX = 20
"""Longest wait for anything that must happen, unless a step says otherwise."""
EVENTS_OF_A_KIND_MAX = 20_000
"""Events of one name that are kept until somebody waits for them; prices come without end."""
REQUEST_ID_FIRST = 1_000_001
"""Request ids and order ids share error frames, so they are kept far apart."""
PULSE_REQUEST_ID = 1_000_000
"""Of the request that keeps the connection from falling silent."""

# The client logs each error and each lost connection by itself; here both are events like all others.
logging.getLogger("ibapi").setLevel(logging.CRITICAL)


class Failed(Exception):
    """Something is not as it must be. The text says what was expected and what came."""


def expect(what, found, wanted):
    """Both must be equal."""
    if found != wanted:
        raise Failed(f"{what}: expected {wanted!r}, got {found!r}")


def expect_that(what, holds):
    """A condition must hold."""
    if not holds:
        raise Failed(what)


class Client(EWrapper, EClient):
    """One connection to the gateway."""

    def __init__(self, host, port, client_id):
        EWrapper.__init__(self)
        EClient.__init__(self, self)
        self.number = client_id
        self.account = None
        self.next_order_id = None
        self._news = threading.Condition()
        self._events = collections.defaultdict(lambda: collections.deque(maxlen=EVENTS_OF_A_KIND_MAX))
        self._order_events = []
        self._own_executions = set()
        self._next_request_id = REQUEST_ID_FIRST
        self._fault = None
        self.connect(host, port, client_id)
        self._thread = threading.Thread(target=self._run, name=f"client {client_id}", daemon=True)
        self._thread.start()

    def greet(self, account):
        """Waits for what the gateway says after the account: the next order id and three notices."""
        self.account = account
        self.next_order_id = self.wait("nextValidId").orderId
        for code in (2104, 2106, 2158):
            self.wait("error", reqId=-1, errorCode=code)
        return self

    def close(self):
        """Hangs up and waits for the threads to end."""
        self.disconnect()
        self._thread.join(WAIT_SECONDS_MAX)
        expect_that(f"the threads of client {self.number} end", not self._thread.is_alive())

    def request_id(self):
        self._next_request_id += 1
        return self._next_request_id - 1

    def wait(self, name, seconds=WAIT_SECONDS_MAX, where=None, **fields):
        """The first event of a name with these fields that nobody has waited for yet."""

        def fits(event):
            same = all(getattr(event, field) == value for field, value in fields.items())
            return same and (where is None or where(event))

        found = self._poll(seconds, lambda: self._take(name, fits))
        if found is None:
            raise Failed(f"client {self.number}: no {name} {fields or ''} within {seconds} s{self._hint(name)}")
        return found

    def wait_any(self, *names):
        """The first event with one of these names."""

        def first():
            return next(filter(None, (self._take(name, bool) for name in names)), None)

        found = self._poll(WAIT_SECONDS_MAX, first)
        expect_that(f"client {self.number}: one of {names} within {WAIT_SECONDS_MAX} s", found is not None)
        return found

    def ends_with(self, last, *names, seconds=WAIT_SECONDS_MAX, **fields):
        """Waits for an event that ends an answer, and returns the events of other names that came before it."""
        self.wait(last, seconds, **fields)
        return [event for name in names for event in self.taken(name, **fields)]

    def taken(self, name, **fields):
        """All events of a name with these fields so far, without waiting."""
        found = []
        while event := self._take(name, lambda event: all(getattr(event, key) == fields[key] for key in fields)):
            found.append(event)
        return found

    def forget(self):
        """Throws away what nobody has waited for."""
        with self._news:
            self._events.clear()

    def order_lines(self, order_id, since=0):
        """The story of one order of this client, a line for each event in the order of the wire."""
        with self._news:
            lines = [self._line(event, order_id) for event in self._order_events[since:]]
        return [line for line in lines if line]

    def wait_line(self, order_id, last, since=0, seconds=WAIT_SECONDS_MAX):
        """Waits until an order's story has a line, and returns the story up to it."""

        def told():
            lines = self.order_lines(order_id, since)
            return lines[: lines.index(last) + 1] if last in lines else None

        lines = self._poll(seconds, told)
        if lines is None:
            came = self.order_lines(order_id, since)
            raise Failed(f"order {order_id} of client {self.number}: no `{last}` within {seconds} s, but {came}")
        return lines

    def moment(self):
        """A mark between two events, for `order_lines`."""
        with self._news:
            return len(self._order_events)

    def order_events(self, name, since=0):
        """Events of orders of a name, in the order of the wire."""
        with self._news:
            return [event for event in self._order_events[since:] if event.name == name]

    def msgLoopTmo(self):
        """Called by `ibapi` after a fifth of a second without a message. Its reader loses what it has read when a
        burst of exactly 4,096 bytes is followed by a second of silence, from any gateway; so there is none."""
        self.reqUserInfo(PULSE_REQUEST_ID)

    def _run(self):
        try:
            self.run()
        except Exception as fault:  # An exception in a callback ends the session; whoever waits must learn of it.
            self._fault = fault
        with self._news:
            self._news.notify_all()

    def _poll(self, seconds, look):
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                found = look()
                left = deadline - time.monotonic()
                if found is not None or left <= 0:
                    return found
                if self._fault is not None:
                    raise Failed(f"client {self.number}: its session ended with {self._fault!r}")
                self._news.wait(left)

    def _take(self, name, fits):
        with self._news:
            kept = self._events[name]
            for index, event in enumerate(kept):
                if fits(event):
                    del kept[index]
                    return event
        return None

    def _hint(self, name):
        with self._news:
            errors = [(event.reqId, event.errorCode, event.errorString) for event in self._events["error"]]
            others = list(self._events[name])[-3:]
        return f"; errors: {errors[-5:]}; other events of that name: {others}"

    def _note(self, event):
        with self._news:
            self._events[event.name].append(event)
            if event.name in ("openOrder", "orderStatus", "execDetails", "commissionAndFeesReport", "error"):
                self._order_events.append(event)
            self._news.notify_all()

    def _line(self, event, order_id):
        if event.name == "error" and event.reqId == order_id:
            return f"error {event.errorCode}"
        if event.name == "openOrder" and (event.orderId, event.order.clientId) == (order_id, self.number):
            return f"open {event.orderState.status}"
        if event.name == "orderStatus" and (event.orderId, event.clientId) == (order_id, self.number):
            return f"{event.status} {event.filled}/{event.remaining}"
        if event.name == "execDetails" and event.reqId == -1 and event.execution.orderId == order_id:
            self._own_executions.add((order_id, event.execution.execId))
            return f"fill {event.execution.shares}"
        if event.name == "commissionAndFeesReport":
            report = event.commissionAndFeesReport
            return "fee" if (order_id, report.execId) in self._own_executions else None
        return None


def _recorder(name, parameters):
    def note(self, *values, **named):
        fields = dict(zip(parameters, values))
        self._note(SimpleNamespace(name=name, **fields, **named))

    return note


for _name, _function in inspect.getmembers(EWrapper, inspect.isfunction):
    if not _name.startswith("_") and not _name.endswith("ProtoBuf"):
        _parameters = list(inspect.signature(_function).parameters)[1:]
        setattr(Client, _name, _recorder(_name, _parameters))


def connect(host, port, client_id):
    """A client that has been greeted. An id whose last session still hangs up is tried again, as at IB."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while True:
        client = Client(host, port, client_id)
        first = client.wait_any("managedAccounts", "error")
        if first.name == "managedAccounts":
            return client.greet(first.accountsList)
        client.close()
        if first.errorCode != 326 or time.monotonic() > deadline:
            raise Failed(f"client {client_id} is not let in: {first.errorCode} {first.errorString}")


def stock(symbol):
    """A stock as most programs name it."""
    contract = Contract()
    contract.symbol, contract.secType, contract.exchange, contract.currency = symbol, "STK", "SMART", "USD"
    return contract
