// Pieces of an answer in time: events of a stream, chunks, or messages of a WebSocket session.

import { bytesOf, decode64, jsonOf } from "./bodies.js";
import { delta } from "./conversation.js";
import { isGrpc, messages, told } from "./grpc.js";
import { reader } from "./sse.js";

const binary = (data) => [...data.subarray(0, 24)].map((each) => each.toString(16).padStart(2, "0")).join(" ");

/** [{index, at, after, size, text, from, kind, json, delta}]; at and after in milliseconds. */
export function piecesOf(detail) {
  return detail.frames ? frames(detail.frames) : chunks(detail.response);
}

function frames(list) {
  let at = 0;
  return list.map((frame, index) => {
    at += frame.delay_ms;
    const text = frame.kind === "close" ? `${frame.close_code ?? ""} ${frame.reason || ""}` : frame.encoding === "text" ? frame.data : binary(decode64(frame.data));
    return { index, at, after: frame.delay_ms, size: frame.size_bytes, text, from: frame.direction, kind: frame.kind, frame, json: jsonOf(text) };
  });
}

/** Messages, each at the time of the chunk that has its end. */
function grpcMessages(list, data) {
  let [at, end, i, before] = [0, 0, 0, 0];
  return messages(data).map((message, index) => {
    for (; i < list.length && end < message.end; i++) [at, end] = [at + list[i].delay_ms, end + list[i].size_bytes];
    const said = told(message);
    const piece = { index, at, after: at - before, size: message.size, text: said || binary(message.data), json: jsonOf(said), kind: "message" };
    before = at;
    return piece;
  });
}

/** Whether the bytes of the chunks are those of the body that is here: coded ones cannot be told apart. */
const sliced = (body) => body && !body.unavailable && !(body.coding && body.decoded);

function chunks(response) {
  if (!response) return [];
  const { body, chunks: list } = response;
  const stream = (body?.media_type || "") === "text/event-stream";
  const out = [];
  let at = 0;
  let before = 0;
  const add = (size, text, json) => {
    out.push({ index: out.length, at, after: at - before, size, text, json, delta: delta(json), kind: stream ? "event" : "chunk" });
    before = at;
  };
  const took = ({ event, data }) => {
    const json = jsonOf(data);
    const [kind, said] = delta(json);
    add(data.length, said || (kind ? "" : event === "message" ? data : `${event} ${data}`), json);
  };
  if (!sliced(body)) {
    if (stream && body?.data) {
      at = list.reduce((sum, each) => sum + each.delay_ms, 0);
      reader(took)(body.data);
      return out;
    }
    for (const chunk of list) {
      at += chunk.delay_ms;
      add(chunk.size_bytes, "", undefined);
    }
    return out;
  }
  const data = bytesOf(body);
  if (isGrpc(body.media_type)) return grpcMessages(list, data);
  const decoder = new TextDecoder("utf-8");
  const feed = reader(took);
  let offset = 0;
  for (const chunk of list) {
    at += chunk.delay_ms;
    const part = data.subarray(offset, (offset += chunk.size_bytes));
    if (stream) feed(decoder.decode(part, { stream: true }));
    else add(chunk.size_bytes, body.encoding === "text" ? decoder.decode(part, { stream: true }).slice(0, 300) : binary(part), undefined);
  }
  return out;
}
