// The calls of clients/across.py, by the SDKs for Node and by fetch. The argument is the base URL.
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import Stripe from "stripe";

const url = process.argv[2];
const key = "sk-upgrades-9z8Y7x6W5v4U3t2S1r0Q9p8O";
const messages = [{ role: "user", content: "Grüße? \u{1F600} </a>" }];

const openai = new OpenAI({ apiKey: key, baseURL: `${url}/v1`, maxRetries: 0 });
const anthropic = new Anthropic({ apiKey: key, baseURL: url, maxRetries: 0 });
const { hostname, port } = new URL(url);
const stripe = new Stripe("sk_test_9z8Y7x6W5v4U3t2S1r0Q9p8O", {
  host: hostname, port, protocol: "http", maxNetworkRetries: 0,
});

async function text(path, options) {
  const answer = await fetch(url + path, options);
  if (!answer.ok) throw new Error(await answer.text());
  return JSON.stringify(await answer.json());
}

const calls = {
  "openai chat": async () => {
    const options = { max_tokens: 64, temperature: 0.5, messages, model: "gpt-x" };
    return (await openai.chat.completions.create(options)).choices[0].message.content;
  },
  "openai stream": async () => {
    const chunks = await openai.chat.completions.create({ stream: true, model: "gpt-x", messages });
    let said = "";
    for await (const chunk of chunks) said += chunk.choices[0].delta.content;
    return said;
  },
  "openai models": async () => (await openai.models.list()).data[0].id,
  "anthropic message": async () => {
    const options = { messages, max_tokens: 64, model: "claude-x" };
    return (await anthropic.messages.create(options)).content[0].text;
  },
  "stripe customer": async () => (await stripe.customers.create({
    email: "a@example.com", metadata: { note: "ä b~*", order: "6735" },
  })).id,
  "stripe customers": async () => (await stripe.customers.list({ limit: 3 })).data[0].id,
  "post": async () => text("/repos/octo/cat/issues", {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${key}` },
    body: JSON.stringify({ labels: ["bug", "ü"], title: "<a> & b", number: 2, ratio: 0.25 }),
  }),
  "get": async () => text("/search/repositories?" + new URLSearchParams({ q: "a b", sort: "stars" })),
};

for (const [name, call] of Object.entries(calls)) {
  let failed = false;
  const result = await call().catch((error) => ((failed = true), String(error)));
  console.log(JSON.stringify({ call: name, failed, result }));
}
