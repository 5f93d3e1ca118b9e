// The official Node SDK in front of the proxy: node check.mjs <base URL ending in /v1> [model ...]
//
// Prints one JSON line per check, {name, ok, error?}; the exit status is the number of those that failed.

import assert from "node:assert/strict";
import OpenAI from "openai";

const [baseURL, ...models] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "any", maxRetries: 0 });
const SAID = "The 6 café opens at 10:06 — 日本 🎉\nand closes at 0.";
const ASK_BOTH = 'Call get_weather({"city": "Oslo"}) and get_time({"zone": "CET"}).';
const WEATHER = {
  type: "object",
  properties: { city: { type: "string" }, degrees: { type: "integer" } },
  required: ["city", "degrees"],
  additionalProperties: false,
};
const object = (name) => ({
  type: "object",
  properties: { [name]: { type: "string", description: name } },
  required: [name],
  additionalProperties: false,
});
const FUNCTIONS = [
  { name: "get_weather", description: "The weather.", parameters: object("city"), strict: true },
  { name: "get_time", description: "The time.", parameters: object("zone"), strict: true },
];
const TOOLS = FUNCTIONS.map((one) => ({ type: "function", function: one }));
const FLAT = FUNCTIONS.map((one) => ({ type: "function", ...one }));
const user = (content) => ({ role: "user", content });

let failed = 0;
async function check(name, body) {
  try {
    await body();
    console.log(JSON.stringify({ name, ok: true }));
  } catch (error) {
    failed += 1;
    console.log(JSON.stringify({ name, ok: false, error: String(error.stack ?? error).slice(0, 2000) }));
  }
}

async function chat(model) {
  await check(`chat create ${model}`, async () => {
    const { data, response } = await client.chat.completions
      .create({ model, messages: [user(`Say exactly: ${SAID}`)] })
      .withResponse();
    assert.equal(data.choices[0].message.content, SAID);
    assert.equal(data.choices[0].finish_reason, "stop");
    assert.equal(data.usage.total_tokens, data.usage.prompt_tokens + data.usage.completion_tokens);
    assert.ok(response.headers.get("x-request-id").startsWith("req_"));
  });

  await check(`chat stream ${model}`, async () => {
    let text = "";
    let usage = null;
    const stream = await client.chat.completions.create({
      model,
      messages: [user(`Say exactly: ${SAID}`)],
      stream: true,
      stream_options: { include_usage: true },
    });
    for await (const chunk of stream) {
      assert.equal(usage, null);
      text += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage ?? null;
    }
    assert.equal(text, SAID);
    assert.ok(usage.completion_tokens > 0);
  });

  await check(`chat .stream() ${model}`, async () => {
    const runner = client.chat.completions.stream({ model, messages: [user("Count to 12.")], n: 1 });
    let deltas = "";
    runner.on("content", (delta) => (deltas += delta));
    const final = await runner.finalChatCompletion();
    assert.equal(final.choices[0].message.content, "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12");
    assert.equal(deltas, final.choices[0].message.content);
  });

  await check(`chat .stream() with three choices ${model}`, async () => {
    const runner = client.chat.completions.stream({ model, messages: [user("Count to 3.")], n: 3 });
    const final = await runner.finalChatCompletion();
    assert.deepEqual(final.choices.map((choice) => choice.message.content), Array(3).fill("1, 2, 3"));
  });

  for (const stream of [false, true]) {
    await check(`chat parse ${stream ? "streamed" : "whole"} ${model}`, async () => {
      const said = '{"city": "Oslo", "degrees": 4}';
      const ask = {
        model,
        messages: [user(`Say exactly: ${said}`)],
        response_format: { type: "json_schema", json_schema: { name: "weather", schema: WEATHER, strict: true } },
      };
      const completion = stream
        ? await client.chat.completions.stream(ask).finalChatCompletion()
        : await client.chat.completions.parse(ask);
      assert.deepEqual(JSON.parse(completion.choices[0].message.content), { city: "Oslo", degrees: 4 });
    });

    await check(`chat runTools ${stream ? "streamed" : "whole"} ${model}`, async () => {
      const called = [];
      const tools = FUNCTIONS.map(({ strict, ...one }) => ({
        type: "function",
        function: {
          ...one,
          parse: JSON.parse,
          function: (given) => {
            called.push([one.name, given]);
            return one.name === "get_weather" ? "4 degrees" : "noon";
          },
        },
      }));
      const runner = client.chat.completions.runTools({ model, messages: [user(ASK_BOTH)], tools, stream });
      assert.equal(await runner.finalContent(), "The tool answered: 4 degrees noon");
      assert.deepEqual(called, [
        ["get_weather", { city: "Oslo" }],
        ["get_time", { zone: "CET" }],
      ]);
      assert.equal((await runner.finalMessage()).role, "assistant");
    });
  }

  await check(`chat tool loop of three turns ${model}`, async () => {
    const messages = [{ role: "system", content: "Use the tools." }];
    const ids = new Set();
    for (let turn = 0; turn < 3; turn += 1) {
      messages.push(user(ASK_BOTH));
      const first = await client.chat.completions.stream({ model, messages, tools: TOOLS }).finalChatCompletion();
      const { message } = first.choices[0];
      assert.equal(first.choices[0].finish_reason, "tool_calls");
      assert.deepEqual(message.tool_calls.map((call) => call.function.name), ["get_weather", "get_time"]);
      messages.push(message);
      for (const call of message.tool_calls) {
        ids.add(call.id);
        messages.push({ role: "tool", tool_call_id: call.id, content: `${call.function.name} ${turn}` });
      }
      const second = await client.chat.completions.create({ model, messages, tools: TOOLS });
      assert.equal(second.choices[0].message.content, `The tool answered: get_weather ${turn} get_time ${turn}`);
      messages.push(second.choices[0].message);
    }
    assert.equal(ids.size, 6);
  });
}

async function responses(model) {
  await check(`responses create ${model}`, async () => {
    const response = await client.responses.create({ model, input: `Say exactly: ${SAID}` });
    assert.equal(response.output_text, SAID);
    assert.equal(response.status, "completed");
  });

  await check(`responses create streamed ${model}`, async () => {
    const events = [];
    const stream = await client.responses.create({ model, input: `Say exactly: ${SAID}`, stream: true });
    for await (const event of stream) events.push(event);
    assert.equal(events[0].type, "response.created");
    assert.equal(events.at(-1).type, "response.completed");
    assert.deepEqual(events.map((event) => event.sequence_number), [...events.keys()]);
  });

  await check(`responses .stream() accumulates ${model}`, async () => {
    const runner = client.responses.stream({ model, input: `Say exactly: ${SAID}` });
    let deltas = "";
    runner.on("response.output_text.delta", (event) => (deltas += event.delta));
    const final = await runner.finalResponse();
    assert.equal(deltas, SAID);
    assert.equal(final.output_text, SAID);
  });

  await check(`responses .stream() with tools, then the results ${model}`, async () => {
    const first = await client.responses.stream({ model, input: ASK_BOTH, tools: FLAT }).finalResponse();
    const calls = first.output.filter((item) => item.type === "function_call");
    assert.deepEqual(calls.map((call) => call.name), ["get_weather", "get_time"]);
    assert.deepEqual(JSON.parse(calls[0].arguments), { city: "Oslo" });
    const input = [user(ASK_BOTH), ...first.output];
    for (const call of calls) input.push({ type: "function_call_output", call_id: call.call_id, output: call.name });
    const second = await client.responses.stream({ model, input, tools: FLAT }).finalResponse();
    assert.equal(second.output_text, "The tool answered: get_weather get_time");
  });

  await check(`responses parse ${model}`, async () => {
    const ask = {
      model,
      input: 'Say exactly: {"city": "Oslo", "degrees": 4}',
      text: { format: { type: "json_schema", name: "weather", schema: WEATHER, strict: true } },
    };
    const whole = await client.responses.parse(ask);
    const streamed = await client.responses.stream(ask).finalResponse();
    for (const response of [whole, streamed]) {
      assert.deepEqual(JSON.parse(response.output_text), { city: "Oslo", degrees: 4 });
    }
  });
}

await check("models", async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.ok(ids.includes("@cf/openai/gpt-oss-120b"));
});

await check("errors", async () => {
  await assert.rejects(
    client.chat.completions.create({ model: "gpt-oss-999b", messages: [user("x")] }),
    (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found",
  );
  await assert.rejects(
    client.chat.completions.create({ model: "@cf/emulator/quota", messages: [user("x")] }),
    (error) => error instanceof OpenAI.RateLimitError && error.code === "insufficient_quota",
  );
  await assert.rejects(async () => {
    const ask = { model: "@cf/emulator/error-mid-stream", messages: [user("Write 60 words.")], stream: true };
    for await (const chunk of await client.chat.completions.create(ask)) assert.ok(chunk);
  }, OpenAI.APIError);
});

for (const model of models) {
  await chat(model);
  await responses(model);
}

process.exitCode = failed;
