// gRPC bodies: length-prefixed messages, and what can be told of protobuf without its schema.

const PREFIX = 5;
const DEEPEST = 6;

/** The messages of a body: [{at, end, size, compressed, data}]; the last one may be cut. */
export function messages(bytes) {
  const out = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + PREFIX <= bytes.length; ) {
    const size = view.getUint32(at + 1);
    const data = bytes.subarray(at + PREFIX, at + PREFIX + size);
    out.push({ at, end: at + PREFIX + size, size, compressed: bytes[at] === 1, data });
    at += PREFIX + size;
  }
  return out;
}

const strict = new TextDecoder("utf-8", { fatal: true });

function text(bytes) {
  try {
    const found = strict.decode(bytes);
    return /[\0-\x08\x0e-\x1f]/.test(found) ? null : found;
  } catch {
    return null;
  }
}

function varint(bytes, at) {
  let value = 0n;
  for (let shift = 0n; at < bytes.length && shift < 70n; shift += 7n) {
    const byte = bytes[at++];
    value |= BigInt(byte & 127) << shift;
    if (byte < 128) return [value, at];
  }
  return null;
}

/** Fields by number, [number, value] in order; null if the bytes are no message. */
function fields(bytes, deepest = DEEPEST) {
  const out = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = varint(bytes, at);
    if (!tag || tag[0] >> 3n === 0n) return null;
    const [kind, number] = [Number(tag[0] & 7n), Number(tag[0] >> 3n)];
    at = tag[1];
    if (kind === 0) {
      const found = varint(bytes, at);
      if (!found) return null;
      out.push([number, String(found[0])]);
      at = found[1];
      continue;
    }
    let size = { 1: 8, 5: 4 }[kind];
    if (kind === 2) {
      const found = varint(bytes, at);
      if (!found) return null;
      [size, at] = [Number(found[0]), found[1]];
    }
    if (size === undefined || at + size > bytes.length) return null;
    const part = bytes.subarray(at, (at += size));
    out.push([number, kind === 2 ? valueOf(part, deepest - 1) : numberOf(part)]);
  }
  return out;
}

/** A fixed number: as a float where that has few digits, else as an integer. */
function numberOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const float = bytes.length === 8 ? view.getFloat64(0, true) : view.getFloat32(0, true);
  const sensible = float === 0 || (Math.abs(float) > 1e-6 && Math.abs(float) < 1e12);
  return sensible ? String(+float.toPrecision(bytes.length === 8 ? 15 : 7)) : String(bytes.length === 8 ? view.getBigUint64(0, true) : view.getUint32(0, true));
}

function valueOf(bytes, deepest) {
  const said = text(bytes);
  const inner = bytes.length && deepest > 0 && (said === null || !/^[\x20-\x7e\s]{3,}$/.test(said)) ? fields(bytes, deepest) : null;
  if (inner) return written(inner);
  if (said !== null) return JSON.stringify(said);
  return JSON.stringify([...bytes.subarray(0, 32)].map((each) => each.toString(16).padStart(2, "0")).join(" "));
}

const written = (list) => `{${list.map(([number, value]) => `"${number}": ${value}`).join(", ")}}`;

/** A message as JSON whose names are the numbers of its fields; "" if it is none. */
export function told({ data, size, compressed }) {
  if (compressed || data.length < size) return "";
  const found = fields(data);
  return found ? written(found) : "";
}

export const isGrpc = (mediaType) => /^application\/grpc(\+proto)?$/.test(mediaType || "");
