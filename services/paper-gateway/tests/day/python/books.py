"""Deeper looks at a stock: levels of its book, its ticks of the past, and how much traded at which price."""

from client import expect, expect_that
from prices import utc

LEVELS = 5
ASK, BID = 0, 1
INSERT = 0
TICKS = 50


def depth(client, contract):
    """The levels of both sides, as one book and with the exchange of each level."""
    client.reqMktDepthExchanges()
    client.wait("mktDepthExchanges")
    for smart, name in [(False, "updateMktDepth"), (True, "updateMktDepthL2")]:
        client.reqMktDepth(request := client.request_id(), contract, LEVELS, smart, [])
        best = {}
        for side in (BID, ASK):
            told = [client.wait(name, reqId=request, side=side, position=level, operation=INSERT) for level in range(LEVELS)]
            prices = [level.price for level in told]
            expect(f"levels of side {side}, the best first", prices, sorted(prices, reverse=side == BID))
            expect_that(f"shares on each level: {told}", all(level.size > 0 for level in told))
            best[side] = prices[0]
        expect_that(f"the best bid is below the best ask: {best}", best[BID] < best[ASK])
        client.wait(name, reqId=request, where=lambda event: event.operation != INSERT)
        client.cancelMktDepth(request, smart)


def past_ticks(client, contract):
    """Trades, quotes and midpoints one by one, backwards from now and forwards from the first of them."""
    client.reqCurrentTime()
    now = client.wait("currentTime").time
    for what, name in [("TRADES", "historicalTicksLast"), ("BID_ASK", "historicalTicksBidAsk"),
                       ("MIDPOINT", "historicalTicks")]:
        client.reqHistoricalTicks(request := client.request_id(), contract, "", utc(now), TICKS, what, 0, False, [])
        told = client.wait(name, reqId=request)
        times = [tick.time for tick in told.ticks]
        expect(f"the number of ticks of {what}, and the end", (len(times), told.done), (TICKS, True))
        expect_that(f"ticks of {what} in order, before {now}: {times}", times == sorted(times) and times[-1] <= now)
        client.reqHistoricalTicks(request := client.request_id(), contract, utc(times[0]), "", TICKS, what, 0, False, [])
        expect("the first of the same ticks", client.wait(name, reqId=request).ticks[0].time, times[0])


def prices_traded(client, contract):
    """How much traded at which price today."""
    client.reqHistogramData(request := client.request_id(), contract, False, "1 day")
    items = client.wait("histogramData", reqId=request).items
    prices = [item.price for item in items]
    expect_that(f"each price once, with shares: {len(prices)}", prices and len(set(prices)) == len(prices))
    expect_that("shares at each price", all(item.size > 0 for item in items))
