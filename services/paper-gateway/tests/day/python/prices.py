"""What a program asks before it trades: the session, contracts, prices as they come, prices of the past."""

import calendar
import time

from ibapi.contract import Contract
from ibapi.ticktype import TickTypeEnum

from client import Client, expect, expect_that, stock

SNAPSHOT_SECONDS_MAX = 11
"""A snapshot ends within this time at IB."""
MINUTE = 60


def session(client, host, port):
    """Greeting, time, accounts, ids; and a client id that is taken."""
    expect_that(f"a paper account: {client.account}", client.account.startswith("DU"))
    expect("the server's version", client.serverVersion(), 225)
    client.reqManagedAccts()
    expect("the accounts again", client.wait("managedAccounts").accountsList, client.account)
    client.reqIds(-1)
    expect("the next order id", client.wait("nextValidId").orderId, client.next_order_id)
    client.reqUserInfo(request := client.request_id())
    client.wait("userInfo", reqId=request)

    twin = Client(host, port, client.number)
    twin.wait("error", reqId=-1, errorCode=326)
    twin.wait("connectionClosed")
    twin.close()
    client.reqCurrentTimeInMillis()
    millis = client.wait("currentTimeInMillis").timeInMillis
    client.reqCurrentTime()
    now = client.wait("currentTime").time
    expect_that(f"both clocks agree: {millis} ms and {now} s", 0 <= now - millis // 1000 <= 2)
    return now


def contracts(client):
    """A stock under each of its names, its hours, its price steps; and what is no stock."""
    details = _details(client, stock("AAPL"))
    contract = details.contract
    expect("the stock", (contract.symbol, contract.localSymbol, contract.secType), ("AAPL", "AAPL", "STK"))
    expect("its step and zone", (details.minTick, details.timeZoneId), (0.01, "US/Eastern"))
    expect("a week of hours", len(details.liquidHours.split(";")), 7)
    expect("a week of extended hours", len(details.tradingHours.split(";")), 7)
    expect("its other numbers", [pair.tag for pair in details.secIdList], ["ISIN"])
    rules = details.marketRuleIds.split(",")
    expect("a rule for each exchange", len(rules), len(details.validExchanges.split(",")))

    by_number, by_local = Contract(), Contract()
    by_number.conId, by_number.exchange = contract.conId, "SMART"
    by_local.localSymbol, by_local.primaryExchange = "AAPL", contract.primaryExchange
    by_local.secType, by_local.exchange, by_local.currency = "STK", "SMART", "USD"
    for other in (by_number, by_local):
        expect("the same stock", _details(client, other).contract.conId, contract.conId)

    client.reqMarketRule(int(rules[0]))
    rule = client.wait("marketRule", marketRuleId=int(rules[0]))
    expect("its steps", [(step.lowEdge, step.increment) for step in rule.priceIncrements], [(0.0, 0.01)])
    client.reqMatchingSymbols(request := client.request_id(), "AA")
    samples = client.wait("symbolSamples", reqId=request).contractDescriptions
    expect_that("AAPL matches AA", "AAPL" in [sample.contract.symbol for sample in samples])

    client.reqMatchingSymbols(request := client.request_id(), "NOSUCH")
    expect("what matches nothing", client.wait("symbolSamples", reqId=request).contractDescriptions, [])

    nowhere, foreign, option, empty = stock("NOSUCH"), stock("AAPL"), stock("AAPL"), Contract()
    foreign.currency, option.secType = "EUR", "OPT"
    gone = Contract()
    gone.conId = 999_999_999
    for nothing in (nowhere, foreign, option, empty, gone):
        client.reqContractDetails(request := client.request_id(), nothing)
        client.wait("error", reqId=request, errorCode=200)
        expect("an end after error 200", client.taken("contractDetailsEnd", reqId=request), [])
    return contract


def _details(client, contract):
    client.reqContractDetails(request := client.request_id(), contract)
    found = client.ends_with("contractDetailsEnd", "contractDetails", reqId=request)
    expect("one contract", len(found), 1)
    return found[0].contractDetails


def quotes(client, contract):
    """A stream, a snapshot, and cancels."""
    client.reqMarketDataType(1)
    client.reqMktData(stream := client.request_id(), contract, "233", False, False, [])
    expect("live data", client.wait("marketDataType", reqId=stream).marketDataType, 1)
    expect("its step", client.wait("tickReqParams", tickerId=stream).minTick, 0.01)
    first = {}
    for name in ("BID", "ASK", "LAST"):
        tick = client.wait("tickPrice", reqId=stream, tickType=_tick(name))
        flags = (tick.attrib.canAutoExecute, tick.attrib.pastLimit, tick.attrib.preOpen)
        expect(f"no flags on {name}", flags, (False, False, False))
        size = client.wait("tickSize", reqId=stream, tickType=_tick(f"{name}_SIZE")).size
        expect_that(f"{name} has a price and a size: {tick.price}, {size}", tick.price > 0 and size >= 0)
        first[name] = tick.price
    expect_that(f"the bid is below the ask: {first}", first["BID"] < first["ASK"])
    client.wait("tickString", reqId=stream, tickType=_tick("LAST_TIMESTAMP"))
    client.wait("tickSize", reqId=stream, tickType=_tick("VOLUME"), where=lambda tick: tick.size > 0)
    client.wait("tickPrice", reqId=stream, where=lambda tick: tick.price not in first.values())
    client.cancelMktData(stream)
    client.cancelMktData(stream)
    client.wait("error", reqId=stream, errorCode=300)
    return snapshot(client, contract)


def snapshot(client, contract):
    """The quote of this moment: bid, ask and last price."""
    client.reqMktData(request := client.request_id(), contract, "", True, False, [])
    ticks = client.ends_with("tickSnapshotEnd", "tickPrice", seconds=SNAPSHOT_SECONDS_MAX, reqId=request)
    prices = {tick.tickType: tick.price for tick in ticks}
    return [prices[_tick(name)] for name in ("BID", "ASK", "LAST")]


def _tick(name):
    return getattr(TickTypeEnum, name)


def ticks(client, contract):
    """Trades and quotes one by one, five-second bars, and bars that go on."""
    bars = client.request_id()
    client.reqRealTimeBars(bars, contract, 5, "TRADES", False, [])
    live = client.request_id()
    client.reqHistoricalData(live, contract, "", "300 S", "5 secs", "TRADES", 0, 2, True, [])
    history = [event.bar for event in client.ends_with("historicalDataEnd", "historicalData", reqId=live)]
    expect_that(f"a minute of history or more, not {len(history)} bars", len(history) >= 12)

    wanted = {"Last": "tickByTickAllLast", "AllLast": "tickByTickAllLast"}
    wanted |= {"BidAsk": "tickByTickBidAsk", "MidPoint": "tickByTickMidPoint"}
    for kind, event in wanted.items():
        client.reqTickByTickData(request := client.request_id(), contract, kind, 0, False)
        times = [client.wait(event, reqId=request).time for _ in range(3)]
        expect(f"ticks of {kind} in order", times, sorted(times))
        client.cancelTickByTickData(request)

    one, two = client.wait("realtimeBar", reqId=bars), client.wait("realtimeBar", reqId=bars)
    expect("five-second bars follow each other", (one.time % 5, two.time - one.time), (0, 5))
    for bar in (one, two):
        low, high = min(bar.open_, bar.close), max(bar.open_, bar.close)
        expect_that(f"a bar holds its open and close: {bar}", bar.low <= low <= high <= bar.high)
        expect_that(f"trades of a bar: {bar}", bar.volume > 0 and bar.low <= float(bar.wap) <= bar.high)
    client.cancelRealTimeBars(bars)

    updates = [int(client.wait("historicalDataUpdate", reqId=live).bar.date) for _ in range(2)]
    known = int(history[-1].date)
    expect_that(f"history goes on after {known}: {updates}", known <= updates[0] < updates[1])
    expect("its steps", (updates[0] - known) % 5 + (updates[1] - updates[0]) % 5, 0)
    client.cancelHistoricalData(live)
    client.cancelHistoricalData(live)
    client.wait("error", reqId=live, errorCode=366)


def history(client, contract):
    """Bars with both kinds of dates, days, the schedule, the first instant; and what can't be had."""
    client.reqCurrentTime()
    now = client.wait("currentTime").time
    texts, start, end = bars_of(client, contract, "1800 S", "1 min", as_text=True, end=utc(now))
    numbers, _, _ = bars_of(client, contract, "1800 S", "1 min", as_text=False, end=utc(now))
    expect_that(f"the ends name their zone: {start}, {end}", start.endswith("US/Eastern") and end.endswith("US/Eastern"))
    expect_that(f"half an hour of minutes, not {len(numbers)}", 29 <= len(numbers) <= 31)
    seconds = [int(bar.date) for bar in numbers]
    expect("minutes follow each other", seconds, list(range(seconds[0], seconds[0] + MINUTE * len(numbers), MINUTE)))
    zones = {wall_second(bar.date) - second for bar, second in zip(texts, seconds)}
    expect_that(f"text and number name one instant in New York: {zones}", zones in ({-4 * 3600}, {-5 * 3600}))
    same = [(bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in texts]
    expect("the same bars", [(bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in numbers], same)

    days, _, _ = bars_of(client, contract, "1 W", "1 day", as_text=False)
    expect_that(f"days are dates: {days[0].date}", all(len(day.date) == 8 for day in days))
    heads = []
    for format_date in (1, 2):
        client.reqHeadTimeStamp(request := client.request_id(), contract, "TRADES", 0, format_date)
        heads.append(client.wait("headTimestamp", reqId=request).headTimestamp)
    expect("the first instant, in both formats", heads[0], utc(int(heads[1])))
    request = client.request_id()
    client.reqHistoricalData(request, contract, "", "5 D", "1 day", "SCHEDULE", 1, 1, False, [])
    schedule = client.wait("historicalSchedule", reqId=request)
    expect("the zone of the schedule", schedule.timeZone, "US/Eastern")
    expect("sessions", len(schedule.sessions), 5)

    for of, size, duration, code in [
        (contract, "7 mins", "1 D", 321),
        (contract, "1 min", "a week", 321),
        (stock("NOSUCH"), "1 min", "1 D", 200),
    ]:
        client.reqHistoricalData(request := client.request_id(), of, "", duration, size, "TRADES", 0, 2, False, [])
        client.wait("error", reqId=request, errorCode=code)


def bars_of(client, contract, duration, size, as_text, end=""):
    """Bars of the past, and the texts of where they begin and end."""
    client.reqHistoricalData(
        request := client.request_id(), contract, end, duration, size, "TRADES", 0, 1 if as_text else 2, False, []
    )
    last = client.wait("historicalDataEnd", reqId=request)
    return [event.bar for event in client.taken("historicalData", reqId=request)], last.start, last.end


def utc(second):
    """A time as requests take it in UTC."""
    return time.strftime("%Y%m%d-%H:%M:%S", time.gmtime(second))


def wall_second(text):
    """`20131007 09:30:00 US/Eastern`, read as if it were UTC."""
    return calendar.timegm(time.strptime(text[:17], "%Y%m%d %H:%M:%S"))
