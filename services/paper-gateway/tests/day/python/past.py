"""A trading day of the past, from before the open until the next morning, with every order type.

The market is a replay whose clock stands while nobody asks for prices: the program places its orders, lets the day
run on to a time, and looks at what became of them. The prices are those of a file that the test writes:

    IBM   08:00 100   09:30 100   10:30 104   12:00 98   15:00 98   16:00 99   20:00 99   next day 101 from 04:00
"""

import calendar
import time
from decimal import Decimal

from ibapi.const import UNSET_INTEGER
from ibapi.order_cancel import OrderCancel

from book import executions, reconcile
from client import connect, expect, expect_that, stock
from orders import all_open_orders, cancel, fills, open_orders, order, place
from prices import bars_of, snapshot

FIRST_DAY, SECOND_DAY = "20131007", "20131008"
NEW_YORK_SECONDS = 4 * 3600
"""In October New York is so far behind UTC."""
DAY_SECONDS_MAX = 120
"""Longest wait for the market to reach a time; at the speed of the test a whole day takes twenty seconds."""
CLOSE = 99.0
WARNING = "error 399"
"""What an order is warned with that waits for its session."""


def instant(day, clock):
    """Epoch seconds of a time in New York."""
    return calendar.timegm(time.strptime(f"{day} {clock}", "%Y%m%d %H:%M")) + NEW_YORK_SECONDS


def advance(client, day, clock, latest):
    """Lets the market run until a time; then its clock stands again, a little later and not after the latest time."""
    requests = {symbol: client.request_id() for symbol in ("IBM", "SPY")}
    for symbol, request in requests.items():
        client.reqRealTimeBars(request, stock(symbol), 5, "TRADES", False, [])
    end = instant(day, clock)
    client.wait("realtimeBar", DAY_SECONDS_MAX, reqId=requests["IBM"], where=lambda bar: bar.time + 5 >= end)
    for request in requests.values():
        client.cancelRealTimeBars(request)
    client.reqCurrentTime()
    late = client.wait("currentTime").time - instant(day, latest)
    expect_that(f"this program is {late} s of the market behind {latest}: too slow a machine for this speed", late <= 0)


def before_the_open(client):
    """Orders of all kinds are placed while the clock stands at eight in the morning."""
    client.reqCurrentTime()
    expect("the time", client.wait("currentTime").time, instant(FIRST_DAY, "08:00"))
    ibm, spy = stock("IBM"), stock("SPY")
    placed = {
        "early": place(client, ibm, order("BUY", 100, "LMT", lmtPrice=100.10, outsideRth=True)),
        "open": place(client, ibm, order("BUY", 100, "MKT")),
        "kept": place(client, spy, order("BUY", 5, "LMT", lmtPrice=150.0, tif="GTC", orderRef="kept")),
        "dated": place(client, ibm, order("BUY", 5, "LMT", lmtPrice=90.0, tif="GTD",
                                          goodTillDate=f"{FIRST_DAY} 10:00:00 US/Eastern")),
        "day": place(client, ibm, order("BUY", 5, "LMT", lmtPrice=90.0)),
        "stop": place(client, ibm, order("BUY", 10, "STP", auxPrice=102.0)),
        "stop limit": place(client, ibm, order("SELL", 10, "STP LMT", auxPrice=98.5, lmtPrice=98.2)),
        "trail": place(client, ibm, order("SELL", 10, "TRAIL", auxPrice=1.0)),
        "trail limit": place(client, ibm, order("SELL", 10, "TRAIL LIMIT", auxPrice=1.5, trailStopPrice=98.0,
                                                lmtPriceOffset=0.1)),
        "touched": place(client, ibm, order("SELL", 10, "MIT", auxPrice=103.0)),
        "touched limit": place(client, ibm, order("SELL", 10, "LIT", auxPrice=103.5, lmtPrice=103.4)),
        "close": place(client, ibm, order("SELL", 30, "MOC")),
        "close at most": place(client, ibm, order("BUY", 20, "LOC", lmtPrice=105.0)),
        "close too dear": place(client, ibm, order("BUY", 20, "LOC", lmtPrice=90.0)),
        "first of two": place(client, ibm, order("BUY", 10, "LMT", lmtPrice=98.5, ocaGroup="either", ocaType=1)),
        "second of two": place(client, ibm, order("BUY", 10, "LMT", lmtPrice=90.0, ocaGroup="either", ocaType=1)),
    }
    parent = client.next_order_id
    placed |= {
        "parent": place(client, ibm, order("BUY", 40, "LMT", lmtPrice=98.2, transmit=False)),
        "profit": place(client, ibm, order("SELL", 40, "LMT", lmtPrice=98.8, parentId=parent, transmit=False)),
        "loss": place(client, ibm, order("SELL", 40, "STP", auxPrice=97.0, parentId=parent)),
    }
    waiting = {name: client.wait_line(number, f"PreSubmitted 0/{_quantity(client, number)}")
               for name, number in placed.items() if name != "early"}
    expect("orders that wait", len(waiting), len(placed) - 1)
    for name in waiting:
        client.wait_line(placed[name], WARNING)
    return placed


def _quantity(client, order_id):
    opened = client.wait("openOrder", orderId=order_id)
    return opened.order.totalQuantity


def morning(client, placed):
    """By half past twelve most orders have met their price, at the time when the market showed it."""
    advance(client, FIRST_DAY, "12:30", "14:45")
    for name, begin, end, lowest, highest in [
        ("early", "08:00", "08:02", 99.95, 100.10),
        ("open", "09:30", "09:32", 99.95, 100.12),
        ("stop", "09:58", "10:02", 102.0, 102.15),
        ("touched", "10:13", "10:17", 102.95, 103.15),
        ("touched limit", "10:20", "10:24", 103.4, 103.6),
        ("trail", "10:43", "10:47", 102.90, 103.10),
        ("trail limit", "10:48", "10:54", 102.45, 102.60),
        ("stop limit", "11:50", "11:55", 98.2, 98.5),
        ("first of two", "11:50", "11:55", 98.40, 98.5),
        ("parent", "11:55", "11:59", 98.10, 98.2),
    ]:
        traded(client, placed[name], name, begin, end, lowest, highest)
    for name, clock in [("dated", "10:00"), ("second of two", None)]:
        story = client.wait_line(placed[name], "error 202")
        expect_that(f"the order {name} ended without a trade: {story}", "fill" not in " ".join(story))
    children = [client.order_lines(placed[name]) for name in ("profit", "loss")]
    family = [[line for line in lines if line != WARNING][-1] for lines in children]
    expect("the children of the parent", family, ["Submitted 0/40", "PreSubmitted 0/40"])


def traded(client, order_id, name, begin, end, lowest, highest, day=FIRST_DAY):
    """All of an order was executed within these times and prices."""
    client.wait_line(order_id, "fee")
    told = fills(client, order_id)
    expect(f"shares of the order {name}", told[-1].cumQty, sum(execution.shares for execution in told))
    for execution in told:
        at = execution.time
        expect_that(f"the order {name} trades between {begin} and {end}, not at {at}",
                    f"{day} {begin}:00" <= at[:17] <= f"{day} {end}:59")
        expect_that(f"the order {name} trades between {lowest} and {highest}, not at {execution.price}",
                    lowest <= execution.price <= highest)


def lost(client, host, port, placed):
    """At noon the connection is lost and found again; all that still works is there, under the same numbers."""
    before = {number: opened.permId for number, opened in open_orders(client).items()}
    names = ("kept", "day", "close", "close at most", "close too dear", "profit", "loss")
    expect("orders that still work", sorted(before), sorted(placed[name] for name in names))
    client.close()
    again = connect(host, port, client.number)
    found = {number: opened.permId for number, opened in open_orders(again).items()}
    expect("orders found again", found, before)
    expect("the parent of the children", {opened.order.parentId for opened in all_open_orders(again)
                                          if opened.orderId in (placed["profit"], placed["loss"])}, {placed["parent"]})
    return again


def noon(client, placed):
    """The market stands at 98: orders that trade at once or not at all, changes, families that are taken back."""
    ibm = stock("IBM")
    for kind, price, end in [("IOC", 90.0, "Cancelled 0/10"), ("IOC", 98.5, "Filled 10/0"),
                             ("FOK", 90.0, "Cancelled 0/10"), ("FOK", 98.5, "Filled 10/0")]:
        client.wait_line(place(client, ibm, order("BUY", 10, "LMT", lmtPrice=price, tif=kind)), end)
    _, ask, _ = snapshot(client, ibm)
    vast = place(client, ibm, order("BUY", 3000, "LMT", lmtPrice=ask, tif="FOK"))
    expect_that("nothing of a vast order is filled", "fill" not in " ".join(client.wait_line(vast, "error 202")))

    kept = open_orders(client)
    mark = client.moment()
    client.placeOrder(placed["day"], ibm, order("BUY", 6, "LMT", lmtPrice=91.0))
    client.wait_line(placed["day"], "Submitted 0/6", mark)
    expect("the changed order's number", open_orders(client)[placed["day"]].permId, kept[placed["day"]].permId)
    client.placeOrder(placed["day"], ibm, order("SELL", 6, "LMT", lmtPrice=91.0))
    client.wait("error", reqId=placed["day"], errorCode=105)

    parent = place(client, ibm, order("BUY", 10, "LMT", lmtPrice=90.0, transmit=False))
    child = place(client, ibm, order("SELL", 10, "LMT", lmtPrice=120.0, parentId=parent))
    client.wait_line(parent, "Submitted 0/10")
    cancel(client, parent)
    client.wait_line(child, "error 202")
    orphan = place(client, ibm, order("SELL", 10, "LMT", lmtPrice=120.0, parentId=777_777))
    client.wait("error", reqId=orphan)
    for kind in ("MKT", "TRAIL", "MOC"):
        terms = {"auxPrice": 1.0} if kind == "TRAIL" else {}
        asked = place(client, ibm, order("BUY", 100, kind, whatIf=True, **terms))
        client.wait("openOrder", orderId=asked, where=lambda event: event.orderState.commissionAndFees == 0.35)
    expect("orders that still work", sorted(open_orders(client)), sorted(kept))


def close(client, placed):
    """At four the closing trade fills what waited for it, and the day's orders end. One is good for longer."""
    advance(client, FIRST_DAY, "16:10", "19:30")
    for name in ("close", "close at most"):
        traded(client, placed[name], name, "15:59", "16:00", CLOSE, CLOSE)
    traded(client, placed["profit"], "profit", "15:40", "15:50", 98.8, 98.9)
    for name in ("close too dear", "day", "loss"):
        story = client.wait_line(placed[name], "error 202")
        expect_that(f"the order {name} ended without a trade: {story}", "fill" not in " ".join(story))
    expect("orders that still work", list(open_orders(client)), [placed["kept"]])


def evening(client, placed):
    """After hours only orders that ask for it trade; an order for the day waits for the next one; an order for a close
    that is over is rejected."""
    ibm = stock("IBM")
    late = place(client, ibm, order("BUY", 10, "LMT", lmtPrice=99.5, outsideRth=True))
    traded(client, late, "late", "16:10", "19:59", 98.95, 99.10)
    placed["tomorrow"] = place(client, ibm, order("BUY", 10, "LMT", lmtPrice=99.5))
    client.wait_line(placed["tomorrow"], "PreSubmitted 0/10")
    rejected = place(client, ibm, order("BUY", 10, "MOC"))
    client.wait("error", reqId=rejected, errorCode=201)


def next_morning(client, placed):
    """A new day: its orders are its own, and yesterday's executions are told to who asks for them."""
    yesterday = [execution.execId for _, execution, _ in executions(client)]
    advance(client, SECOND_DAY, "04:05", "06:30")
    waiting = (placed["kept"], placed["tomorrow"])
    expect("orders of yesterday", sorted(open_orders(client)), sorted(waiting))
    sold = place(client, stock("IBM"), order("SELL", 50, "LMT", lmtPrice=100.5, outsideRth=True))
    traded(client, sold, "of the next day", "04:05", "06:59", 100.90, 101.10, SECOND_DAY)
    today = [execution.execId for _, execution, _ in executions(client, lastNDays=1)]
    expect("executions of both days", [execution.execId for _, execution, _ in executions(client)], yesterday + today)
    on_first = {"lastNDays": UNSET_INTEGER, "specificDates": [int(FIRST_DAY)]}
    by_date = [execution.execId for _, execution, _ in executions(client, **on_first)]
    expect("executions of the first date", by_date, yesterday)
    client.reqGlobalCancel(OrderCancel())
    for number in waiting:
        client.wait_line(number, "error 202")
    expect("orders after the global cancel", all_open_orders(client), [])


def hours(client):
    """The sessions of the coming days: two days of trading, and closed where the file has nothing."""
    client.reqContractDetails(request := client.request_id(), stock("IBM"))
    details = client.ends_with("contractDetailsEnd", "contractDetails", reqId=request)[0].contractDetails
    closed = [f"2013101{day}:CLOSED" for day in range(4)]
    for told, begin, end in [(details.tradingHours, "0400", "2000"), (details.liquidHours, "0930", "1600")]:
        sessions = [f"{date}:{begin}-{date}:{end}" for date in (FIRST_DAY, SECOND_DAY)]
        expect("the hours of a week", told.split(";"), [*sessions, "20131009:CLOSED", *closed])
    request = client.request_id()
    client.reqHistoricalData(request, stock("IBM"), "", "1 D", "1 day", "SCHEDULE", 1, 1, False, [])
    session = client.wait("historicalSchedule", reqId=request).sessions[0]
    expect("today's session", (session.startDateTime, session.endDateTime, session.refDate),
           (f"{FIRST_DAY}-09:30:00", f"{FIRST_DAY}-16:00:00", FIRST_DAY))


def history(client):
    """What is told of the past is the file, and nothing of the future."""
    ibm = stock("IBM")
    bars, _, _ = bars_of(client, ibm, "1 D", "1 min", as_text=True, end=f"{FIRST_DAY} 20:00:00 US/Eastern")
    expect("minutes of the day", len(bars), 720)
    first, last = bars[0], bars[-1]
    expect("the first", (first.date, first.open, first.high, first.low, first.close, first.volume),
           (f"{FIRST_DAY} 08:00:00 US/Eastern", 100.0, 100.05, 99.95, 100.0, Decimal(60_000)))
    expect("the last", (last.date, last.close), (f"{FIRST_DAY} 19:59:00 US/Eastern", CLOSE))
    client.reqCurrentTime()
    now = client.wait("currentTime").time
    for end in ("", "20131009 00:00:00 US/Eastern", "20131009-00:00:00"):
        told, _, _ = bars_of(client, ibm, "1 D", "1 min", as_text=False, end=end)
        expect_that(f"nothing after {now}: {told[-1].date}", int(told[-1].date) <= now)


def trade(day, host, port, cash):
    """The whole day."""
    client = connect(host, port, 1)
    day.step(hours, client)
    placed = day.step(before_the_open, client)
    day.step(morning, client, placed)
    client = day.step(lost, client, host, port, placed)
    day.step(noon, client, placed)
    day.step(close, client, placed)
    day.step(evening, client, placed)
    day.step(reconcile, client, cash)
    day.step(next_morning, client, placed)
    day.step(history, client)
    book = day.step(reconcile, client, cash, SECOND_DAY)
    client.close()
    return book
