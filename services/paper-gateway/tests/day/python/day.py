"""A full trading day with IB's own Python client against the paper gateway.

    python3 day.py --live 127.0.0.1:4010

With `--past` it trades a second account too, on a replay of two days whose prices `past.py` describes.

Every wait has a deadline and every figure is checked. It ends with one line and code 0, or with the step that
failed, what was expected and what came, and code 1. The packages `nautilus-ibapi` (import name `ibapi`) and
`protobuf` must be installed. The account must be new, with the cash that `--cash` says.
"""

import argparse
import os
import sys
import time
from decimal import Decimal

import account
import books
import orders
import past
import prices
from book import reconcile
from client import Failed, connect


class Day:
    """The steps of the day, one after the other, and how long each took."""

    def __init__(self):
        self.begin = time.monotonic()
        self.steps = 0

    def step(self, act, *arguments):
        start = time.monotonic()
        try:
            done = act(*arguments)
        except Exception as fault:
            # Its own errors are sentences; anything else is a bug in the program, and says where.
            raise fault if not isinstance(fault, Failed) else Failed(f"{act.__name__}: {fault}") from fault
        self.steps += 1
        print(f"{act.__module__}.{act.__name__}: {time.monotonic() - start:.2f} s", flush=True)
        return done


def live(day, host, port, cash):
    """A market that goes on by the wall's clock."""
    client = connect(host, port, 1)
    day.step(prices.session, client, host, port)
    contract = day.step(prices.contracts, client)
    day.step(prices.quotes, client, contract)
    day.step(prices.ticks, client, contract)
    day.step(prices.history, client, contract)
    day.step(books.depth, client, contract)
    day.step(books.past_ticks, client, contract)
    day.step(books.prices_traded, client, contract)
    day.step(account.untouched, client, contract, cash)
    day.step(orders.market, client, contract)
    day.step(orders.parts, client)
    day.step(orders.short, client)
    day.step(orders.limit, client, contract)
    day.step(orders.at_once, client, contract)
    day.step(orders.preview, client, contract)
    day.step(orders.refusals, client, contract)
    day.step(orders.others, client, host, port, contract)
    client = day.step(orders.lost, client, host, port, contract)
    day.step(orders.filters, client, contract)
    book = day.step(reconcile, client, cash)
    client.close()
    return book


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--live", required=True, metavar="HOST:PORT", help="a gateway with made-up prices")
    options.add_argument("--past", metavar="HOST:PORT", help="a gateway that replays the days of past.py")
    options.add_argument("--cash", type=Decimal, default=Decimal(100_000), help="cash of the new account")
    chosen = options.parse_args()
    day = Day()
    books = [live(day, *address(chosen.live), chosen.cash)]
    if chosen.past:
        books.append(past.trade(day, *address(chosen.past), chosen.cash))
    told = "; ".join(f"{len(book.executions)} executions, {book.commissions} USD of commissions, cash {book.cash} USD"
                     for book in books)
    print(f"{day.steps} steps in {time.monotonic() - day.begin:.1f} s: {told}; all as it must be")


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


if __name__ == "__main__":
    code = 1
    try:
        main()
        code = 0
    except Failed as fault:
        print(f"failed: {fault}", file=sys.stderr)
    except Exception:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    # The client's reader is a thread that nothing ends; after a failure it would keep the program alive.
    os._exit(code)
