// LLM calls as conversations: OpenAI (chat, responses), Anthropic, Gemini and those that speak as they do.
// Everything here is made of what was sent; nothing is asked for.

import { jsonOf, textOf } from "./bodies.js";

const list = (value) => (Array.isArray(value) ? value : value == null ? [] : [value]);
const words = (value) => (typeof value === "string" ? value : JSON.stringify(value ?? ""));

/** A turn: who spoke, note beside the name, parts [{text, piece}] and tools [{name, text, result}]. */
const turn = (who, note = "") => ({ who, note, parts: [], tools: [] });
const NAMES = { model: "Assistant", developer: "System", function: "Tool" };
const nameOf = (role) => NAMES[role] || (role ? role[0].toUpperCase() + role.slice(1) : "Assistant");

function say(into, text, piece) {
  const last = into.parts[into.parts.length - 1];
  if (last && last.piece === undefined && piece === undefined) last.text += "\n" + text;
  else if (text) into.parts.push({ text, piece });
}

/** Content in any of the shapes: a text, or blocks of text, picture, tool call, tool result. */
function content(into, value, names) {
  for (const block of list(value)) {
    if (typeof block === "string") say(into, block);
    else if (block.type === "tool_use" || block.functionCall) {
      const call = block.functionCall || block;
      if (call.id) names.set(call.id, call.name);
      into.tools.push({ name: call.name, text: words(call.input ?? call.args) });
    } else if (block.type === "tool_result" || block.functionResponse) {
      const result = block.functionResponse || block;
      into.who = "Tool";
      into.tools.push({ name: names.get(result.tool_use_id) || result.name || "", text: plain(result.content ?? result.response), result: true });
    } else if (block.thinking) say(into, `(thinking) ${block.thinking}`);
    else if (block.text !== undefined || block.refusal) say(into, block.text ?? block.refusal);
    else if (block.type || block.inlineData) say(into, `[${block.type || block.inlineData.mimeType}]`);
  }
}
const plain = (value) =>
  typeof value === "string" ? value : Array.isArray(value) && value.every((each) => each.text !== undefined) ? value.map((each) => each.text).join("\n") : words(value);

function calls(into, value, names) {
  for (const call of list(value)) {
    const made = call.function || call;
    if (call.id) names.set(call.id, made.name);
    into.tools.push({ name: made.name, text: words(made.arguments) });
  }
}

function message(said, names) {
  const one = turn(nameOf(said.role), said.name || "");
  if (said.role === "tool") {
    const name = names.get(said.tool_call_id) || said.name || "";
    one.tools.push({ name, text: plain(said.content), result: true });
  } else content(one, said.content ?? said.parts, names);
  calls(one, said.tool_calls, names);
  return one;
}

/** An item of OpenAI's responses API, of input or output. */
function item(each, names) {
  if (each.type === "function_call") {
    const one = turn("Assistant");
    if (each.call_id) names.set(each.call_id, each.name);
    one.tools.push({ name: each.name, text: words(each.arguments) });
    return one;
  }
  if (each.type === "function_call_output") {
    const one = turn("Tool");
    one.tools.push({ name: names.get(each.call_id) || "", text: plain(each.output), result: true });
    return one;
  }
  if (each.type === "reasoning") {
    const one = turn("Assistant", "reasoning");
    content(one, each.summary, names);
    return one;
  }
  return message(each, names);
}

function asked(request, names) {
  const turns = [];
  const system = request.system ?? request.instructions ?? (request.systemInstruction || request.system_instruction)?.parts;
  if (system) {
    const one = turn("System");
    content(one, system, names);
    turns.push(one);
  }
  if (typeof request.input === "string") turns.push(message({ role: "user", content: request.input }, names));
  for (const each of list(request.messages ?? request.contents ?? (Array.isArray(request.input) ? request.input : []))) turns.push(item(each, names));
  return turns;
}

function answered(response, names) {
  if (response.error) return [Object.assign(turn("Error"), { parts: [{ text: response.error.message || words(response.error) }] })];
  if (response.choices) return response.choices.filter((each) => each.message).map((each) => message({ role: "assistant", ...each.message }, names));
  if (Array.isArray(response.output)) return response.output.map((each) => item(each, names));
  if (response.candidates) return response.candidates.map((each) => message({ role: "model", ...each.content }, names));
  if (response.content || response.message) return [message({ role: "assistant", ...(response.message || response) }, names)];
  return [];
}

/** What one streamed event adds: [kind, text, tool index, tool name]; kind "" says that it adds nothing. */
export function delta(data) {
  if (!data || typeof data !== "object") return ["", ""];
  const choice = data.choices?.[0];
  if (choice) {
    const { delta: more = {} } = choice;
    const call = more.tool_calls?.[0];
    if (call) return ["tool", call.function?.arguments || "", call.index ?? 0, call.function?.name];
    if (more.content) return ["text", more.content];
    if (more.refusal) return ["text", more.refusal];
    return ["", choice.finish_reason ? `finish: ${choice.finish_reason}` : more.role ? `role: ${more.role}` : ""];
  }
  if (data.candidates) return ["text", data.candidates[0]?.content?.parts?.map((each) => each.text || "").join("") || ""];
  switch (data.type) {
    case "content_block_start":
      return data.content_block?.type === "tool_use" ? ["tool", "", data.index, data.content_block.name] : ["", data.content_block?.type || ""];
    case "content_block_delta":
      return data.delta.partial_json !== undefined ? ["tool", data.delta.partial_json, data.index] : data.delta.text ? ["text", data.delta.text] : ["", data.delta.thinking || data.delta.type];
    case "response.output_text.delta":
      return ["text", data.delta];
    case "response.output_item.added":
      return data.item?.type === "function_call" ? ["tool", "", data.output_index, data.item.name] : ["", data.item?.type || ""];
    case "response.function_call_arguments.delta":
      return ["tool", data.delta, data.output_index];
  }
  return ["", ""];
}

const SOURCES_OF_USAGE = [(d) => d.usage, (d) => d.message?.usage, (d) => d.response?.usage, (d) => d.usageMetadata];

function usageOf(documents) {
  const total = {};
  for (const document of documents)
    for (const source of SOURCES_OF_USAGE) {
      const usage = document && source(document);
      if (!usage) continue;
      total.input = usage.prompt_tokens ?? usage.input_tokens ?? usage.promptTokenCount ?? total.input;
      total.output = usage.completion_tokens ?? usage.output_tokens ?? usage.candidatesTokenCount ?? total.output;
    }
  return total.input === undefined && total.output === undefined ? null : total;
}

/** Whether a request looks like one to a model: the beginning of a conversation. */
export function request(detail) {
  const sent = jsonOf(textOf(detail.request?.body));
  if (!sent || typeof sent !== "object") return null;
  return Array.isArray(sent.messages) || Array.isArray(sent.contents) || (sent.input !== undefined && sent.model && /respons/.test(detail.request.url)) ? sent : null;
}

/** The conversation of an exchange: {facts, turns, usage}. events are the pieces of a stream, as in pieces.js. */
export function conversation(detail, events) {
  const sent = request(detail);
  const names = new Map();
  const turns = asked(sent, names);
  const facts = [["model", sent.model], ["temperature", sent.temperature], ["max tokens", sent.max_tokens ?? sent.max_completion_tokens ?? sent.max_output_tokens],
    ["tools", list(sent.tools).map((each) => each.function?.name || each.name || each.type).join(", ") || undefined]].filter(([, value]) => value !== undefined);
  const whole = jsonOf(textOf(detail.response?.body));
  if (whole) return { facts, turns: [...turns, ...answered(whole, names)], usage: usageOf([whole]) };
  const one = turn("Assistant", "streamed");
  const tools = new Map();
  for (const event of events) {
    const [kind, text, index, name] = event.delta;
    if (kind === "text") say(one, text, event.index);
    if (kind !== "tool") continue;
    let tool = tools.get(index);
    if (!tool || (name && tool.text)) {
      tools.set(index, (tool = { name: name || "", text: "" }));
      one.tools.push(tool);
    }
    tool.name ||= name || "";
    tool.text += text;
  }
  if (one.parts.length || one.tools.length) turns.push(one);
  return { facts, turns, usage: usageOf(events.map((each) => each.json)), streamed: one };
}
