"""The account as clients ask for it, and what they may not ask."""

from decimal import Decimal

from client import expect, expect_that

TAGS = "AccountType,NetLiquidation,TotalCashValue,BuyingPower,FullAvailableFunds,FullInitMarginReq,FullMaintMarginReq"


def untouched(client, contract, cash):
    """A new account: all cash, no position, no gain."""
    account = client.account
    client.reqAccountSummary(first := client.request_id(), "All", TAGS)
    rows = client.ends_with("accountSummaryEnd", "accountSummary", reqId=first)
    values = {row.tag: (row.value, row.currency) for row in rows}
    expect("each tag once", sorted(values), sorted(TAGS.split(",")))
    expect("the type", values["AccountType"], ("INDIVIDUAL", ""))
    expect("the accounts of a summary", {row.account for row in rows}, {account})
    amounts = {"NetLiquidation": cash, "TotalCashValue": cash, "BuyingPower": 4 * cash, "FullInitMarginReq": 0}
    for tag, wanted in amounts.items():
        value, currency = values[tag]
        expect(tag, (Decimal(value), currency), (wanted, "USD"))

    client.reqAccountSummary(second := client.request_id(), "All", "$LEDGER:ALL")
    client.wait("accountSummaryEnd", reqId=second)
    client.reqAccountSummary(third := client.request_id(), "All", TAGS)
    client.wait("error", reqId=third, errorCode=322)
    for request in (first, second):
        client.cancelAccountSummary(request)

    client.reqAccountUpdates(True, account)
    client.wait("accountDownloadEnd", accountName=account)
    client.wait("updateAccountValue", key="NetLiquidation", accountName=account, currency="USD")
    client.wait("updateAccountTime", where=lambda event: event.timeStamp[2] == ":")
    expect("holdings", client.taken("updatePortfolio"), [])
    client.reqAccountUpdates(False, account)
    client.reqAccountUpdatesMulti(request := client.request_id(), account, "", False)
    rows = client.ends_with("accountUpdateMultiEnd", "accountUpdateMulti", reqId=request)
    expect("cash", {Decimal(row.value) for row in rows if row.key == "TotalCashBalance"}, {cash})
    client.cancelAccountUpdatesMulti(request)

    client.reqPositions()
    expect("positions", client.ends_with("positionEnd", "position"), [])
    client.cancelPositions()
    client.reqPositionsMulti(request := client.request_id(), account, "")
    expect("positions", client.ends_with("positionMultiEnd", "positionMulti", reqId=request), [])
    client.cancelPositionsMulti(request)
    gains(client, contract)


def gains(client, contract):
    """Gains of the account and of one stock, once a second, and the errors of what is asked wrongly."""
    client.reqPnL(whole := client.request_id(), client.account, "")
    client.reqPnLSingle(single := client.request_id(), client.account, "", contract.conId)
    for _ in range(2):
        client.wait("pnl", reqId=whole)
        one = client.wait("pnlSingle", reqId=single)
    expect_that(f"no shares, no worth: {one}", one.pos == 0 and one.value == 0)
    for cancel, request, code in [(client.cancelPnL, whole, 10185), (client.cancelPnLSingle, single, 10186)]:
        cancel(request)
        cancel(request)
        client.wait("error", reqId=request, errorCode=code)
    client.reqPnL(request := client.request_id(), "DU999", "")
    client.wait("error", reqId=request, errorCode=321)
