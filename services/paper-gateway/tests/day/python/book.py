"""What an account must hold, counted from executions and commissions alone."""

from decimal import ROUND_HALF_EVEN, Decimal

from ibapi.execution import ExecutionFilter

from client import expect, expect_that

CENT = Decimal("0.01")
HALF_A_CENT = Decimal("0.005001")
"""Amounts are told in cents; the rest is what averages lose in their last digits."""
DAYS = 7
"""The gateway keeps the executions of so many days."""


def exact(number):
    """The shortest decimal that is this number: the wire carries prices and fees as binary fractions."""
    return Decimal(repr(number))


class Book:
    """Cash, shares and gains by average cost, commissions included, as IB counts them."""

    def __init__(self, cash):
        self.cash = cash
        self.shares = {}
        self.costs = {}
        self.realized = Decimal(0)
        self.commissions = Decimal(0)
        self.executions = []

    def trade(self, symbol, side, shares, price, commission):
        signed = shares if side == "BOT" else -shares
        held, cost = self.shares.get(symbol, Decimal(0)), self.costs.get(symbol, Decimal(0))
        closed = min(abs(held), shares) if held * signed < 0 else Decimal(0)
        fee_closed = commission * closed / shares
        if closed:
            part = cost * closed / abs(held)
            worth = closed * price * (1 if held > 0 else -1)
            self.realized += worth - part - fee_closed
            cost -= part
        opened = (shares - closed) * (1 if signed > 0 else -1)
        self.costs[symbol] = cost + opened * price + (commission - fee_closed if opened else 0)
        self.shares[symbol] = held + signed
        self.cash -= signed * price + commission
        self.commissions += commission


def executions(client, **conditions):
    """Executions that a filter lets through, each with its commission report, in order."""
    conditions = {"lastNDays": DAYS} | conditions
    wanted = ExecutionFilter()
    for field, value in conditions.items():
        setattr(wanted, field, value)
    client.reqExecutions(request := client.request_id(), wanted)
    found = client.ends_with("execDetailsEnd", "execDetails", reqId=request)
    reports = {event.commissionAndFeesReport.execId: event.commissionAndFeesReport
               for event in client.taken("commissionAndFeesReport")}
    return [(event.contract, event.execution, reports[event.execution.execId]) for event in found]


def reconcile(client, start, today=""):
    """Cash, positions and gains of the account must follow from its executions, to the cent. Gains are those of
    `today`, a date, without which all executions are of today."""
    book, told = Book(start), executions(client)
    ids = [execution.execId for _, execution, _ in told]
    expect("each execution has an id of its own", len(set(ids)), len(ids))
    realized_told = Decimal(0)
    for contract, execution, report in told:
        before = book.realized
        price, commission = exact(execution.price), exact(report.commissionAndFees)
        book.trade(contract.symbol, execution.side, execution.shares, price, commission)
        expect("the currency of a commission", report.currency, "USD")
        close("the gain of an execution", exact(report.realizedPNL), book.realized - before)
        realized_told += exact(report.realizedPNL)
        if execution.time < today:
            book.realized = realized_told = Decimal(0)
    book.executions = told

    values, holdings = account_values(client)
    close("cash", Decimal(values["TotalCashValue"]), book.cash)
    shares = {symbol: count for symbol, count in book.shares.items() if count}
    expect("the holdings", {symbol: h.position for symbol, h in holdings.items() if h.position}, shares)
    for symbol, count in shares.items():
        close(f"the cost of {symbol}", exact(holdings[symbol].averageCost) * count, book.costs[symbol])
    worth = sum((exact(holding.marketValue) for holding in holdings.values()), Decimal(0))
    close("the account's worth", Decimal(values["NetLiquidation"]), book.cash + worth)
    close("gains of today", Decimal(values["RealizedPnL"]), book.realized)
    close("gains of today as reported", realized_told, book.realized)

    client.reqPositions()
    found = client.ends_with("positionEnd", "position")
    client.cancelPositions()
    expect("the positions", {event.contract.symbol: event.position for event in found}, shares)
    client.reqPnL(request := client.request_id(), client.account, "")
    close("gains on request", exact(client.wait("pnl", reqId=request).realizedPnL), book.realized)
    client.cancelPnL(request)
    for symbol, count in shares.items():
        client.reqPnLSingle(request := client.request_id(), client.account, "", holdings[symbol].contract.conId)
        told = client.wait("pnlSingle", reqId=request)
        client.cancelPnLSingle(request)
        expect(f"shares of {symbol}", told.pos, count)
        gain = exact(told.value) - book.costs[symbol]
        close(f"the gain on {symbol} at its present worth", exact(told.unrealizedPnL), gain)
    return book


def account_values(client):
    """All values and holdings of one moment."""
    client.taken("updateAccountValue")
    client.taken("updatePortfolio")
    client.reqAccountUpdates(True, client.account)
    client.wait("accountDownloadEnd", accountName=client.account)
    client.reqAccountUpdates(False, client.account)
    values = {event.key: event.val for event in client.taken("updateAccountValue")}
    return values, {event.contract.symbol: event for event in client.taken("updatePortfolio")}


def close(what, found, wanted):
    """Equal to the cent."""
    cents = wanted.quantize(CENT, ROUND_HALF_EVEN)
    expect_that(f"{what}: expected {cents} ({wanted}), got {found}", abs(found - wanted) <= HALF_A_CENT)
