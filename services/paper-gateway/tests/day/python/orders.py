"""Orders one by one on a market that moves: fills, changes, cancels, refusals, other clients, a lost connection."""

from decimal import Decimal

from ibapi.order import Order
from ibapi.order_cancel import OrderCancel

from book import CENT, exact, executions
from client import connect, expect, expect_that, stock
from prices import snapshot

FAR_BELOW = 10.0
"""A price that no share of the day is sold at."""


def order(action, quantity, kind, **fields):
    """An order as most programs make it."""
    made = Order()
    made.action, made.totalQuantity, made.orderType, made.tif = action, Decimal(quantity), kind, "DAY"
    for field, value in fields.items():
        if not hasattr(made, field):
            raise AttributeError(f"an order has no field {field}")
        setattr(made, field, value)
    return made


def place(client, contract, ticket):
    """Sends an order with the next id, and returns the id."""
    order_id = client.next_order_id
    client.next_order_id += 1
    client.placeOrder(order_id, contract, ticket)
    return order_id


def fills(client, order_id):
    """Executions of an order as they were told when they happened."""
    told = [event.execution for event in client.order_events("execDetails") if event.reqId == -1]
    return [execution for execution in told if execution.orderId == order_id]


def cancel(client, order_id):
    client.cancelOrder(order_id, OrderCancel())
    client.wait_line(order_id, "error 202")


def market(client, contract):
    """A market order's whole story: accepted, working, traded, done, charged. Then a part of it is sold again."""
    bought = place(client, contract, order("BUY", 10, "MKT", orderRef="day-1:a/b"))
    story = client.wait_line(bought, "fee")
    expect("the story of a market order", story, [
        "open PreSubmitted", "PreSubmitted 0/10", "open Submitted", "Submitted 0/10",
        "fill 10", "open Filled", "Filled 10/0", "fee",
    ])
    execution = fills(client, bought)[0]
    expect("its tag and owner", (execution.orderRef, execution.clientId), ("day-1:a/b", client.number))
    expect("its side and account", (execution.side, execution.acctNumber), ("BOT", client.account))
    sold = place(client, contract, order("SELL", 4, "MKT"))
    client.wait_line(sold, "fee")
    expect("shares sold", (fills(client, sold)[0].side, fills(client, sold)[0].cumQty), ("SLD", Decimal(4)))


def parts(client):
    """A large order takes what the book shows, at several prices or in several trades, and all of it in the end."""
    contract = stock("SOFI")
    bought = place(client, contract, order("BUY", 3000, "MKT"))
    client.wait_line(bought, "Filled 3000/0")
    told = fills(client, bought)
    expect_that(f"several executions, not {len(told)}", len(told) > 1)
    expect("their sum", sum(execution.shares for execution in told), Decimal(3000))
    sums = running([execution.shares for execution in told])
    expect("the running sums", [execution.cumQty for execution in told], sums)
    worth = sum(exact(execution.price) * execution.shares for execution in told)
    average = exact(told[-1].avgPrice)
    expect_that(f"the average price {average} is {worth / 3000}", abs(average - worth / 3000) < Decimal("0.000001"))


def short(client):
    """Shares are sold that the account does not have, in two steps, and more are bought back than are owed."""
    contract = stock("PLTR")
    client.reqPositions()
    client.wait("positionEnd")
    held = []
    for action, quantity in [("SELL", 20), ("SELL", 10), ("BUY", 12), ("BUY", 25)]:
        client.wait_line(place(client, contract, order(action, quantity, "MKT")), "fee")
        held.append(client.wait("position", where=lambda event: event.contract.symbol == "PLTR").position)
    expect("shares owed and held", held, [Decimal(count) for count in (-20, -30, -18, 7)])
    client.cancelPositions()


def running(numbers):
    return [sum(numbers[: count + 1]) for count in range(len(numbers))]


def limit(client, contract):
    """A limit order rests, is changed twice, trades when its price is reached; another one is cancelled."""
    resting = place(client, contract, order("BUY", 5, "LMT", lmtPrice=FAR_BELOW, tif="GTC", orderRef="rests"))
    client.wait_line(resting, "Submitted 0/5")
    perm_id = open_orders(client)[resting].permId
    mark = client.moment()
    client.placeOrder(resting, contract, order("BUY", 7, "LMT", lmtPrice=FAR_BELOW + 1, tif="GTC", orderRef="rests"))
    client.wait_line(resting, "Submitted 0/7", mark)
    changed = open_orders(client)[resting]
    terms = (changed.permId, changed.lmtPrice, changed.totalQuantity, changed.tif, changed.orderRef)
    expect("the changed order", terms, (perm_id, FAR_BELOW + 1, Decimal(7), "GTC", "rests"))
    _, ask, _ = snapshot(client, contract)
    highest = round(ask * 1.01, 2)
    client.placeOrder(resting, contract, order("BUY", 7, "LMT", lmtPrice=highest, tif="GTC", orderRef="rests"))
    client.wait_line(resting, "fee")
    execution = fills(client, resting)[0]
    expect("the same order", execution.permId, perm_id)
    expect_that(f"a price of {execution.price} within the limit {highest}", execution.price <= highest)

    other = place(client, contract, order("SELL", 3, "LMT", lmtPrice=9000.0, outsideRth=True))
    client.wait_line(other, "Submitted 0/3")
    cancel(client, other)
    expect_that("a cancelled order has shares left", "Cancelled 0/3" in client.order_lines(other))
    client.cancelOrder(other, OrderCancel())
    client.wait("error", reqId=other, errorCode=10148)
    client.cancelOrder(777_777, OrderCancel())
    client.wait("error", reqId=777_777, errorCode=10147)


def at_once(client, contract):
    """Orders that trade at once or not at all leave nothing in the book."""
    for kind in ("IOC", "FOK"):
        missed = place(client, contract, order("BUY", 2, "LMT", lmtPrice=FAR_BELOW, tif=kind))
        client.wait_line(missed, "Cancelled 0/2")
        _, ask, _ = snapshot(client, contract)
        taken = place(client, contract, order("BUY", 2, "LMT", lmtPrice=round(ask * 1.01, 2), tif=kind))
        client.wait_line(taken, "Filled 2/0")
        client.wait_line(taken, "fee")


def preview(client, contract):
    """What-if: margin and commission of an order that is not placed."""
    asked = place(client, contract, order("BUY", 100, "MKT", whatIf=True))
    answer = client.wait("openOrder", orderId=asked).orderState
    client.next_order_id -= 1
    expect("its status", answer.status, "PreSubmitted")
    expect("its commission", (answer.commissionAndFees, answer.commissionAndFeesCurrency), (0.35, "USD"))
    margins = (answer.initMarginBefore, answer.initMarginChange, answer.initMarginAfter)
    before, change, after = (exact(float(margin)) for margin in margins)
    expect_that(f"margins add up: {before} + {change} = {after}", change > 0 and abs(before + change - after) < CENT)
    client.reqIds(-1)
    expect("no id is used up", client.wait("nextValidId").orderId, asked)
    expect("no order is open", asked in open_orders(client), False)


def refusals(client, contract):
    """Each refusal has its code, comes for the order that it is about, and leaves nothing behind."""
    before = set(open_orders(client))
    # The last step left them: an order that ended without a trade, and one that was filled.
    cancelled, filled = client.next_order_id - 2, client.next_order_id - 1
    for ticket, of, code in [
        (order("BUY", 1_000_000, "MKT"), contract, 201),
        (order("BUY", 1, "MKT"), stock("NOSUCH"), 200),
        (order("BUY", 0, "MKT"), contract, 434),
        (order("BUY", 1, "LMT", lmtPrice=10.001), contract, 110),
        (order("BUY", 1, "MKT", account="DU999"), contract, 321),
        (order("BUY", 1, "PEG BENCH"), contract, 387),
    ]:
        refused = place(client, of, ticket)
        told = client.wait("error", reqId=refused)
        expect(f"the error of {ticket.orderType} {ticket.totalQuantity}", told.errorCode, code)
        if code == 201:
            expect_that("a rejection says why in JSON", '"rejects"' in told.advancedOrderRejectJson)
    for used, ticket, code in [
        (cancelled, order("BUY", 2, "LMT", lmtPrice=FAR_BELOW), 103),
        (filled, order("BUY", 2, "MKT"), 103),
        (filled, order("BUY", 2, "LMT", lmtPrice=FAR_BELOW), 104),
    ]:
        client.placeOrder(used, contract, ticket)
        client.wait("error", reqId=used, errorCode=code)
    expect("orders left behind", set(open_orders(client)) - before, set())


def others(client, host, port, contract):
    """Each client owns its orders; everybody can see all of them; client 0 too."""
    second, manual = connect(host, port, 2), connect(host, port, 0)
    mine = place(client, contract, order("BUY", 1, "LMT", lmtPrice=FAR_BELOW))
    client.wait_line(mine, "Submitted 0/1")
    theirs = place(second, contract, order("BUY", 2, "LMT", lmtPrice=FAR_BELOW))
    second.wait_line(theirs, "Submitted 0/2")
    for viewer in (client, second, manual):
        owners = [(event.order.clientId, event.orderId) for event in all_open_orders(viewer)]
        expect(f"all orders, as client {viewer.number} sees them", sorted(owners), sorted([(1, mine), (2, theirs)]))
    expect("own orders of client 2", list(open_orders(second)), [theirs])
    expect("own orders of client 1", list(open_orders(client)), [mine])
    second.cancelOrder(mine + 1000, OrderCancel())
    second.wait("error", reqId=mine + 1000, errorCode=10147)
    manual.reqGlobalCancel(OrderCancel())
    client.wait_line(mine, "error 202")
    second.wait_line(theirs, "error 202")
    expect("orders after the global cancel", all_open_orders(manual), [])
    second.close()
    manual.close()


def lost(client, host, port, contract):
    """The connection is lost with an order in the book. A new one finds it, its executions, and the next id."""
    kept = place(client, contract, order("BUY", 3, "LMT", lmtPrice=FAR_BELOW, tif="GTC", orderRef="kept"))
    client.wait_line(kept, "Submitted 0/3")
    before = open_orders(client)[kept]
    known = [execution.execId for _, execution, _ in executions(client)]
    client.close()

    again = connect(host, port, client.number)
    expect("the next order id", again.next_order_id, kept + 1)
    found = open_orders(again)[kept]
    for field in ("permId", "orderRef", "lmtPrice", "tif", "totalQuantity", "action", "account"):
        expect(f"{field} of the order found again", getattr(found, field), getattr(before, field))
    expect("the executions found again", [execution.execId for _, execution, _ in executions(again)], known)
    cancel(again, kept)
    return again


def filters(client, contract):
    """Executions by stock, side, client and time; orders that are done."""
    everything = executions(client)
    for conditions, holds in [
        ({"symbol": "SOFI"}, lambda of, execution: of.symbol == "SOFI"),
        ({"side": "SELL"}, lambda _, execution: execution.side == "SLD"),
        ({"clientId": client.number}, lambda _, execution: execution.clientId == client.number),
        ({"clientId": 99}, lambda *_: False),
        ({"acctCode": client.account, "secType": "STK"}, lambda *_: True),
        ({"time": everything[-1][1].time}, lambda _, execution: execution.time >= everything[-1][1].time),
    ]:
        told = [execution.execId for _, execution, _ in executions(client, **conditions)]
        wanted = [execution.execId for of, execution, _ in everything if holds(of, execution)]
        expect(f"executions of {conditions}", told, wanted)
    client.reqCompletedOrders(True)
    done = client.ends_with("completedOrdersEnd", "completedOrder")
    for event in done:
        expect_that(f"a completed order has ended: {event.orderState.status}",
                    event.orderState.status in ("Filled", "Cancelled", "Inactive"))
        expect("its day", len(event.orderState.completedTime), len("20131007 09:30:00 US/Eastern"))
    sums = {}
    for _, execution, _ in everything:
        sums[execution.permId] = sums.get(execution.permId, 0) + execution.shares
    filled = {event.order.permId: event.order.filledQuantity for event in done if event.orderState.status == "Filled"}
    expect("what completed orders traded", filled, sums)


def open_orders(client):
    """This client's open orders by id, each told with its status."""
    client.taken("openOrder")
    client.taken("orderStatus")
    client.reqOpenOrders()
    told = client.ends_with("openOrderEnd", "openOrder", "orderStatus")
    opened = [event for event in told if event.name == "openOrder"]
    expect("a status for each open order", len(told), 2 * len(opened))
    return {event.orderId: event.order for event in opened}


def all_open_orders(client):
    """Open orders of all clients."""
    client.taken("openOrder")
    client.reqAllOpenOrders()
    return client.ends_with("openOrderEnd", "openOrder")
