// A server and a client of the Model Context Protocol, by the official TypeScript SDK: the same
// conversation as that of peer.py, with the same arguments. NODE_MODULES names the directory
// whose node_modules has the SDK.

const { createRequire } = require("node:module");
const { createServer } = require("node:http");
const { randomUUID } = require("node:crypto");
const { writeFileSync } = require("node:fs");

const load = createRequire(`${process.env.NODE_MODULES}/here.cjs`);
const { McpServer } = load("@modelcontextprotocol/sdk/server/mcp.js");
const { StreamableHTTPServerTransport } = load(
  "@modelcontextprotocol/sdk/server/streamableHttp.js",
);
const { StdioServerTransport } = load("@modelcontextprotocol/sdk/server/stdio.js");
const { Client } = load("@modelcontextprotocol/sdk/client/index.js");
const { StreamableHTTPClientTransport } = load(
  "@modelcontextprotocol/sdk/client/streamableHttp.js",
);
const { StdioClientTransport } = load("@modelcontextprotocol/sdk/client/stdio.js");
const { CreateMessageRequestSchema, ToolListChangedNotificationSchema } = load(
  "@modelcontextprotocol/sdk/types.js",
);
const { z } = load("zod");

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const text = (value) => ({ content: [{ type: "text", text: `${value}` }] });

function newServer() {
  const server = new McpServer({ name: "peer", version: "1" }, { capabilities: { logging: {} } });
  const progress = (extra, at, total, message) =>
    extra.sendNotification({
      method: "notifications/progress",
      params: { progressToken: extra._meta.progressToken, progress: at, total, message },
    });
  const tool = (name, inputSchema, handle) => server.registerTool(name, { inputSchema }, handle);
  tool("add", { a: z.number(), b: z.number() }, async ({ a, b }) =>
    text(a + b + 1000 * Math.floor(Math.random() * 1e6 + 1)),
  );
  tool("count", { to: z.number() }, async ({ to }, extra) => {
    for (let at = 0; at < to; at++) {
      await progress(extra, at, to, `at ${at}`);
      await sleep(20);
    }
    return text(`counted to ${to}: ${Math.random()}`);
  });
  tool("ask", { question: z.string() }, async ({ question }, extra) => {
    const message = { role: "user", content: { type: "text", text: question } };
    const found = await server.server.createMessage(
      { messages: [message], maxTokens: 10 },
      { relatedRequestId: extra.requestId },
    );
    return text(`the client says ${found.content.text} ${Math.random()}`);
  });
  tool("poll", {}, async (_, extra) => {
    await progress(extra, 1, 2, "before the cut");
    extra.closeSSEStream?.();
    await progress(extra, 2, 2, "after the cut");
    return text(`resumed ${Math.random()}`);
  });
  tool("grow", {}, async () => {
    await server.server.sendToolListChanged();
    return text("told");
  });
  return server;
}

class Events {
  sent = [];

  async storeEvent(stream, message) {
    this.sent.push([stream, message]);
    return `event-${this.sent.length}`;
  }

  async getStreamIdForEventId(id) {
    return this.sent[Number(id.split("-")[1]) - 1]?.[0];
  }

  async replayEventsAfter(last, { send }) {
    const at = Number(last.split("-")[1]);
    const stream = this.sent[at - 1][0];
    for (const [number, [other, message]] of this.sent.entries()) {
      if (number >= at && other === stream) {
        if (Object.keys(message).length) await send(`event-${number + 1}`, message);
      }
    }
    return stream;
  }
}

function serve(portFile) {
  const sessions = new Map();
  const http = createServer(async (request, response) => {
    let transport = sessions.get(request.headers["mcp-session-id"]);
    if (transport === undefined) {
      transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        eventStore: new Events(),
        retryInterval: 150,
        onsessioninitialized: (id) => sessions.set(id, transport),
      });
      await newServer().connect(transport);
    }
    await transport.handleRequest(request, response);
  });
  http.listen(0, "127.0.0.1", () => writeFileSync(portFile, `${http.address().port}`));
}

async function conversation(transport, overHttp) {
  const seen = [];
  const client = new Client({ name: "c", version: "1" }, { capabilities: { sampling: {} } });
  client.setRequestHandler(CreateMessageRequestSchema, async ({ params }) => ({
    role: "assistant",
    content: { type: "text", text: `yes to ${params.messages[0].content.text}` },
    model: "m",
    stopReason: "endTurn",
  }));
  const changed = new Promise((done) =>
    client.setNotificationHandler(ToolListChangedNotificationSchema, done),
  );
  await client.connect(transport);
  const call = async (name, args, options) => {
    const result = await client.callTool({ name, arguments: args }, undefined, options);
    if (result.isError) throw new Error(result.content[0].text);
    return result.content[0].text;
  };
  const onprogress = (now) => {
    seen.push(["progress", now.progress, now.total, now.message]);
  };
  seen.push(client.getServerVersion().name);
  seen.push((await client.listTools()).tools.map((tool) => tool.name));
  for (let again = 0; again < 2; again++) seen.push(await call("add", { a: 1, b: 2 }));
  seen.push(await call("count", { to: 3 }, { onprogress }));
  seen.push(await call("ask", { question: "tea" }));
  seen.push(await call("grow", {}));
  await changed;
  if (overHttp) seen.push(await call("poll", {}, { onprogress }));
  seen.push(...(await Promise.all([3, 4].map((n) => call("add", { a: n, b: n })))));
  if (overHttp) await transport.terminateSession();
  await client.close();
  return seen;
}

async function main([what, ...words]) {
  if (what === "serve") return serve(words[0]);
  if (what === "stdio") return newServer().connect(new StdioServerTransport());
  const [, times, where, command, ...args] = words;
  for (let again = 0; again < Number(times); again++) {
    const overHttp = where !== "--";
    const transport = overHttp
      ? new StreamableHTTPClientTransport(new URL(where))
      : new StdioClientTransport({ command, args, env: process.env });
    console.log(JSON.stringify(await conversation(transport, overHttp)));
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
