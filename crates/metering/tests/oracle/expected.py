#!/usr/bin/env python3
"""What the cases of the oracle cost, computed a second time, by another hand and in another language.

`cases.toml` says for each payload what was used, counted by a person from the payload and the documentation of its API.
This computes from that and from `catalogue.toml` what it costs, in exact decimals:

    tokens = sum over buckets of count * rate / 1,000,000        (rate in US dollars for a million tokens)
    cost   = tokens * multipliers + sum over units of count * price + price of the call

* the price is the one whose `from` is the latest that is not after `at`;
* the tier's rates replace the price's, and so do those of a context that the whole input (caches included) is long enough for;
* a cache without a rate costs what input does, one for an hour what a shorter one does, reasoning what output does;
* no model, no tier or no rate: the cost is unknown (null);
* a product with a multiplier is rounded to twelve decimals, half to even.

Run without arguments it writes `expected.json`; with `--check` it fails when that differs.
"""

import json
import pathlib
import sys
import tomllib
from decimal import ROUND_HALF_EVEN, Decimal, getcontext

getcontext().prec = 60
HERE = pathlib.Path(__file__).parent
INPUTS = ["input", "cache_read", "cache_write", "cache_write_1h", "audio_input"]
OUTPUTS = ["output", "reasoning", "audio_output"]
STANDS_FOR = {"cache_read": "input", "cache_write": "input", "cache_write_1h": "cache_write", "reasoning": "output"}
PLAIN = {"", "default", "standard"}


def price_of(catalogue, provider, model, at):
    """The price that is valid for a model at a moment, or None."""
    for vendor in catalogue["provider"]:
        if vendor["name"] != provider:
            continue
        for candidate in vendor["model"]:
            if model == candidate["name"] or model in candidate.get("aliases", []):
                begun = [price for price in candidate["price"] if price["from"] <= at[:10]]
                return max(begun, key=lambda price: price["from"], default=None)
    return None


def rate_of(rates, bucket):
    """The rate of a bucket, or of what stands for it."""
    while bucket not in rates:
        if bucket not in STANDS_FOR:
            return None
        bucket = STANDS_FOR[bucket]
    return Decimal(rates[bucket])


def cost_of(catalogue, case):
    """The cost of a case: a decimal, or None where it is unknown."""
    if "provider_cost" in case:
        return Decimal(case["provider_cost"])
    if case["source"] == "none":
        return Decimal(0)
    usage = case.get("usage", {})
    price = price_of(catalogue, case["provider"], case.get("model", case["asked"]), case["at"])
    if price is None:
        return None
    rates, factor = price, Decimal(1)
    for word in case.get("tier", case.get("asked_tier", "")).split("+"):
        if word in PLAIN:
            continue
        if word == "batch" and "batch" in price:
            rates = price["batch"]
        elif word in price.get("tiers", {}):
            rates = price["tiers"][word]
        elif word in price.get("multipliers", {}):
            factor *= Decimal(price["multipliers"][word])
        elif not price.get("any_tier", False):
            return None
    size = sum(usage.get(bucket, 0) for bucket in INPUTS)
    for context in sorted(rates.get("context", []), key=lambda c: c.get("above", c.get("at_least"))):
        if size > context["above"] if "above" in context else size >= context["at_least"]:
            rates = context
    cost = Decimal(0)
    for bucket in INPUTS + OUTPUTS:
        if count := usage.get(bucket, 0):
            rate = rate_of(rates, bucket)
            if rate is None:
                return None
            cost += Decimal(count) * rate / Decimal(1_000_000)
    if factor != 1:
        cost = (cost * factor).quantize(Decimal("1e-12"), rounding=ROUND_HALF_EVEN)
    for unit, count in usage.get("units", {}).items():
        if unit not in price.get("units", {}):
            return None
        cost += Decimal(count) * Decimal(price["units"][unit])
    return cost + Decimal(price.get("per_call", "0"))


def plain(cost):
    """A decimal without trailing zeros and without an exponent."""
    if cost is None:
        return None
    text = f"{cost:f}"
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def main():
    catalogue = tomllib.loads((HERE / "catalogue.toml").read_text())
    cases = tomllib.loads((HERE / "cases.toml").read_text())["case"]
    expected = {case["name"]: plain(cost_of(catalogue, case)) for case in cases}
    text = json.dumps(expected, indent=2) + "\n"
    path = HERE / "expected.json"
    if "--check" in sys.argv:
        sys.exit(0 if path.read_text() == text else "expected.json is not what this computes: run it without --check")
    path.write_text(text)


main()
