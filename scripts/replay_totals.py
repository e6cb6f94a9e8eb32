"""What a replayed trace must come to, by a computation that shares nothing with the program but the trace and the price lists.

Choices are made as docs/guides/rollups.md says; prices are read from the TOML files of the catalogue; money is `decimal`. Prints a JSON list with what each tenant
got of each model. Only what traces have is priced: input and output tokens, on the default tier.
"""

import argparse
import csv
import hashlib
import json
import tomllib
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal, getcontext
from pathlib import Path

getcontext().prec = 60


def catalogue(directory):
    models = {}
    for path in sorted(Path(directory).glob("*.toml")):
        for provider in tomllib.loads(path.read_text()).get("provider", []):
            for model in provider.get("model", []):
                for name in [model["name"], *model.get("aliases", [])]:
                    models[provider["name"], name] = model.get("price", [])
    return models


def rates(prices, day, tokens_input):
    valid = [price for price in prices if date.fromisoformat(price["from"]) <= day]
    price = max(valid, key=lambda price: price["from"])
    for context in price.get("context", []):
        if tokens_input > context["above"]:
            price = context
    return Decimal(price["input"]), Decimal(price["output"])


def choose(seed, number, what, among):
    digest = hashlib.sha256(f"{seed}:{number}:{what}".encode()).digest()
    return among[int.from_bytes(digest[:8], "big") % len(among)]


def instant(text):
    day, _, time = text.partition(" ")
    time, _, fraction = time.partition(".")
    whole = datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=timezone.utc)
    return whole + timedelta(microseconds=int(fraction[:6].ljust(6, "0")))


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("trace")
    arguments.add_argument("--catalogue", required=True)
    arguments.add_argument("--tenants", required=True)
    arguments.add_argument("--models", required=True)
    arguments.add_argument("--seed", required=True)
    arguments.add_argument("--start", required=True)
    given = arguments.parse_args()
    tenants, models = given.tenants.split(","), [tuple(model.split("/", 1)) for model in given.models.split(",")]
    start = datetime.fromisoformat(given.start.replace("Z", "+00:00"))
    prices, totals, first = catalogue(given.catalogue), {}, None
    with open(given.trace, newline="") as lines:
        for number, line in enumerate(csv.DictReader(lines)):
            at = instant(line["TIMESTAMP"])
            first = first or at
            tokens_input, tokens_output = int(line["ContextTokens"]), int(line["GeneratedTokens"])
            tenant = choose(given.seed, number, "tenant", tenants)
            provider, model = choose(given.seed, number, "model", models)
            day = (start + (at - first)).date()
            found = prices.get((provider, model)) or prices[provider, "*"]
            per_input, per_output = rates(found, day, tokens_input)
            total = totals.setdefault((tenant, provider, model), [0, 0, 0, Decimal(0)])
            total[0] += 1
            total[1] += tokens_input
            total[2] += tokens_output
            total[3] += (tokens_input * per_input + tokens_output * per_output) / 1_000_000
    print(
        json.dumps(
            [
                {
                    "tenant": tenant,
                    "provider": provider,
                    "model": model,
                    "calls": calls,
                    "tokens_input": tokens_input,
                    "tokens_output": tokens_output,
                    "cost_usd": f"{cost:.12f}",
                }
                for (tenant, provider, model), (calls, tokens_input, tokens_output, cost) in sorted(totals.items())
            ]
        )
    )


main()
