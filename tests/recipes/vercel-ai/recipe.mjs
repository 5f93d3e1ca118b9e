import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const flarelay = createOpenAICompatible({
  name: "flarelay",
  baseURL: "http://127.0.0.1:8484/v1",
  apiKey: "anything",
  includeUsage: true,
  supportsStructuredOutputs: true,
});

const result = streamText({
  model: flarelay("gpt-oss-120b"),
  prompt: "What is the weather in Oslo?",
  stopWhen: stepCountIs(5),
  tools: {
    get_weather: tool({
      description: "The weather in a city.",
      inputSchema: z.object({ city: z.string() }),
      execute: async ({ city }) => `Rain in ${city}, 4 degrees.`,
    }),
  },
});
for await (const text of result.textStream) {
  process.stdout.write(text);
}
console.log();
