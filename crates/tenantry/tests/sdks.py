"""The official clients against the gateway: each call is made as their users make it, and what the client saw is printed as JSON, a line a call, for
the test that holds it against what was recorded."""

import asyncio
import json
import os

import anthropic
import openai

BASE, KEY = os.environ["BASE"], os.environ["ACME"]
OPENAI, ANTHROPIC = f"{BASE}/llm/openai/v1", f"{BASE}/llm/anthropic"
oai = openai.OpenAI(base_url=OPENAI, api_key=KEY, max_retries=0)
ant = anthropic.Anthropic(base_url=ANTHROPIC, api_key=KEY, max_retries=0)

ASK = [{"role": "user", "content": "What is the weather like in Bern?"}]
TEXT = "".join(f"wörd{n} " for n in range(12))
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}}
OPENAI_TOOL = {"type": "function", "function": {"name": "weather", "parameters": WEATHER}}
ANTHROPIC_TOOL = {"name": "weather", "input_schema": WEATHER}


def saw(operation, tokens=None, finish="complete", **more):
    print(json.dumps({"operation": operation, "tokens": tokens, "finish": finish, **more}), flush=True)


def of_chat(usage):
    return [usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens, usage.completion_tokens,
            usage.completion_tokens_details.reasoning_tokens]


def of_response(usage):
    return [usage.input_tokens, usage.input_tokens_details.cached_tokens, usage.output_tokens,
            usage.output_tokens_details.reasoning_tokens]


def of_message(usage):
    return [usage.input_tokens + usage.cache_read_input_tokens, usage.cache_read_input_tokens, usage.output_tokens, 0]


def refused(call, kind, status, code=None):
    try:
        call()
    except kind as error:
        assert error.status_code == status, error
        if code is not None:
            found = getattr(error, "code", None) or error.body["error"]["message"]
            assert code in found, error.body
        return
    raise AssertionError(f"{kind} was expected")


# --- OpenAI: chat completions --------------------------------------------------------------------------------

answer = oai.chat.completions.create(model="gpt-4o-mini+cache+reasoning", messages=ASK)
assert answer.choices[0].message.content == TEXT[len("".join(f"wörd{n} " for n in range(5))):]
saw("chat.completions", of_chat(answer.usage))

chunks = list(oai.chat.completions.create(model="gpt-4o-mini+odd", messages=ASK, stream=True))
assert all(chunk.choices and chunk.usage is None for chunk in chunks)
assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
saw("chat.completions")

chunks = list(oai.chat.completions.create(
    model="gpt-4o-mini+cache+odd", messages=ASK, stream=True, stream_options={"include_usage": True}))
assert not chunks[-1].choices
saw("chat.completions", of_chat(chunks[-1].usage))

answer = oai.chat.completions.create(model="gpt-4o-mini+tools", messages=ASK, tools=[OPENAI_TOOL])
call = answer.choices[0].message.tool_calls[0].function
assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Bern"})
saw("chat.completions", of_chat(answer.usage))

chunks = oai.chat.completions.create(model="gpt-4o-mini+tools+odd", messages=ASK, tools=[OPENAI_TOOL], stream=True)
calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
assert json.loads("".join(call.function.arguments or "" for call in calls)) == {"city": "Bern"}
saw("chat.completions")

# --- OpenAI: responses, embeddings, models -------------------------------------------------------------------

answer = oai.responses.create(model="gpt-5+reasoning", input="hello")
assert answer.output_text in TEXT
saw("responses", of_response(answer.usage))

events = list(oai.responses.create(model="gpt-5+cache+odd", input="hello", stream=True))
assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == TEXT
saw("responses", of_response(events[-1].response.usage))

answer = oai.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
assert list(answer.data[0].embedding) == [0.25, -1.5, 3.0]
saw("embeddings", [answer.usage.prompt_tokens, 0, 0, 0])

assert [model.id for model in oai.models.list()] == ["gpt-4o-mini", "gpt-5"]
saw("models", [0, 0, 0, 0])
assert oai.models.retrieve("gpt-5").id == "gpt-5"
saw("models", [0, 0, 0, 0])

# --- Anthropic -----------------------------------------------------------------------------------------------

answer = ant.messages.create(model="claude-sonnet-4-5+cache", max_tokens=100, messages=ASK)
assert answer.content[0].text == TEXT
saw("messages", of_message(answer.usage))

with ant.messages.stream(model="claude-sonnet-4-5+odd", max_tokens=100, messages=ASK) as stream:
    assert "".join(stream.text_stream) == TEXT
    saw("messages", of_message(stream.get_final_message().usage))

answer = ant.messages.create(model="claude-sonnet-4-5+tools", max_tokens=100, messages=ASK, tools=[ANTHROPIC_TOOL])
assert answer.content[0].input == {"city": "Bern"}
saw("messages", of_message(answer.usage))

with ant.messages.stream(
        model="claude-sonnet-4-5+tools+odd", max_tokens=100, messages=ASK, tools=[ANTHROPIC_TOOL]) as stream:
    final = stream.get_final_message()
    assert final.content[0].input == {"city": "Bern"}
    saw("messages", of_message(final.usage))

assert ant.messages.count_tokens(model="claude-sonnet-4-5", messages=ASK).input_tokens > 10
saw("messages.count_tokens", [0, 0, 0, 0])
assert ant.models.list().data[0].id == "claude-sonnet-4-5"
saw("models", [0, 0, 0, 0])

# --- errors of the provider, and of ours ---------------------------------------------------------------------

for status, kind in [(400, "BadRequestError"), (429, "RateLimitError"), (500, "InternalServerError")]:
    refused(lambda: oai.chat.completions.create(model=f"gpt-5+error-{status}", messages=ASK), getattr(openai, kind), status)
    saw("chat.completions", [0, 0, 0, 0], "error")
    refused(lambda: ant.messages.create(model=f"claude+error-{status}", max_tokens=9, messages=ASK), getattr(anthropic, kind), status)
    saw("messages", [0, 0, 0, 0], "error")
refused(lambda: ant.messages.create(model="claude+error-529", max_tokens=9, messages=ASK), anthropic.InternalServerError, 529)
saw("messages", [0, 0, 0, 0], "error")

bad_key = KEY[:-3] + "xyz"
refused(lambda: oai.with_options(api_key=bad_key).models.list(), openai.AuthenticationError, 401, "invalid_credential")
refused(lambda: ant.with_options(api_key=bad_key).models.list(), anthropic.AuthenticationError, 401, "invalid_credential")
refused(lambda: oai.images.generate(model="x", prompt="y"), openai.NotFoundError, 404, "route_not_found")
nobody = {"X-Tenantry-Account": "nobody"}
refused(lambda: oai.with_options(default_headers=nobody).models.list(), openai.UnprocessableEntityError, 422, "no_provider_account")
refused(lambda: ant.with_options(default_headers=nobody).models.list(), anthropic.UnprocessableEntityError, 422, "no_provider_account")

# --- streams that the client gives up, and one that the provider breaks off ----------------------------------

with oai.chat.completions.create(model="gpt-5+pace-20", messages=ASK, stream=True) as stream:
    next(iter(stream))
saw("chat.completions", None, "cancelled")
with ant.messages.create(model="claude+pace-20", max_tokens=9, messages=ASK, stream=True) as stream:
    next(iter(stream))
saw("messages", None, "cancelled")
try:
    list(oai.chat.completions.create(model="gpt-5+cut-5", messages=ASK, stream=True))
except openai.APIConnectionError:
    pass
else:
    raise AssertionError("a stream that is cut off is no whole one")
saw("chat.completions", None, "cut")

# --- clients that repeat by themselves, and those that do many things at once --------------------------------

again = oai.with_options(max_retries=2).chat.completions.create(model="gpt-5+busy-1", messages=ASK)
saw("chat.completions", [0, 0, 0, 0], "error", attempt=1)
saw("chat.completions", of_chat(again.usage), attempt=2)


async def at_once():
    async with openai.AsyncOpenAI(base_url=OPENAI, api_key=KEY) as client:
        ask = lambda: client.chat.completions.create(model="gpt-5+reasoning", messages=ASK)
        for answer in await asyncio.gather(*(ask() for _ in range(10))):
            saw("chat.completions", of_chat(answer.usage))


asyncio.run(at_once())
