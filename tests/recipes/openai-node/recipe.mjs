import OpenAI from "openai";

const client = new OpenAI({ baseURL: "http://127.0.0.1:8484/v1", apiKey: "anything" });

const runner = client.chat.completions.runTools({
  model: "gpt-oss-120b",
  stream: true,
  messages: [{ role: "user", content: "What is the weather in Oslo?" }],
  tools: [
    {
      type: "function",
      function: {
        name: "get_weather",
        description: "The weather in a city.",
        parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
        parse: JSON.parse,
        function: async ({ city }) => `Rain in ${city}, 4 degrees.`,
      },
    },
  ],
});
runner.on("content", (text) => process.stdout.write(text));
await runner.done();
console.log();
