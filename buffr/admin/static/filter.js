// The filter language: words and field:value, all of which must hold; a comma means or, a minus not.

import { isHere } from "./format.js";

const UNITS = { ms: 1, s: 1000, m: 60000, min: 60000, h: 3600000, d: 86400000, b: 1, kb: 1e3, k: 1e3, mb: 1e6, gb: 1e9 };

/** What a term may name, with an example for the help. */
export const FIELDS = {
  src: "src:miss,limit", status: "status:>=400 or 5xx", method: "method:POST", host: "host:openai", path: "path:/v1/",
  route: "route:dynamodb", scope: "scope:test_refunds", model: "model:gpt", op: "op:GetItem", dur: "dur:>1s",
  size: "size:>10kb", age: "age:<5m", is: "is:here, out or stream", body: "body:refund, sought by buffr",
};

const NUMBERS = {
  status: (e) => e.status, dur: (e) => e.ms, size: (e) => e.size, age: (e, now) => (now - e.at) * 1000,
};
const TEXTS = {
  src: (e) => e.source, method: (e) => e.method, host: (e) => e.host, path: (e) => e.path, route: (e) => e.route,
  scope: (e) => e.scope, model: (e) => e.model || "", op: (e) => e.operation || "",
};
const STATES = { here: (e) => isHere(e.source), out: (e) => !isHere(e.source), stream: (e) => e.stream };
const EXACT = new Set(["src", "method"]);

/**
 * Reads a filter. Gives {test(exchange, now), body, problem}: body is what the server has to seek,
 * problem names the term that cannot be read (its test then holds for all).
 */
export function parse(text) {
  const tests = [];
  let body = "";
  let problem = "";
  for (const [term, minus, field, quoted, plain] of text.matchAll(/(-?)(?:(\w+):)?(?:"([^"]*)"?|(\S+))/g)) {
    const value = quoted ?? plain;
    if (field === "body") {
      body = value;
      continue;
    }
    const test = one(field, value, quoted !== undefined);
    if (test) tests.push(minus ? (e, now) => !test(e, now) : test);
    else problem ||= term;
  }
  return { test: (e, now) => tests.every((test) => test(e, now)), any: tests.length > 0, body, problem };
}

function one(field, value, quoted) {
  const values = (quoted ? [value] : value.split(",")).filter(Boolean).map((each) => each.toLowerCase());
  if (!values.length) return () => true;
  let each;
  if (field === undefined || (!(field in FIELDS) && !quoted)) {
    const words = field === undefined ? values : [`${field}:${value}`.toLowerCase()];
    return (e) => words.some((word) => e.words.includes(word));
  }
  if (field in NUMBERS) each = (text) => number(NUMBERS[field], text);
  else if (field === "is") each = (text) => STATES[text];
  else if (field in TEXTS) {
    const read = TEXTS[field];
    each = (text) => (EXACT.has(field) ? (e) => read(e).toLowerCase() === text : (e) => read(e).toLowerCase().includes(text));
  }
  const tests = values.map(each);
  return tests.every(Boolean) ? (e, now) => tests.some((test) => test(e, now)) : null;
}

function number(read, text) {
  const family = /^([1-5])xx$/.exec(text);
  if (family) return (e) => Math.floor(read(e) / 100) === +family[1];
  const found = /^(>=|<=|>|<|=)?(\d+(?:\.\d+)?)([a-z]*)$/.exec(text);
  if (!found || (found[3] && !(found[3] in UNITS))) return null;
  const limit = found[2] * (UNITS[found[3]] || 1);
  switch (found[1]) {
    case ">": return (e, now) => read(e, now) > limit;
    case "<": return (e, now) => read(e, now) < limit;
    case ">=": return (e, now) => read(e, now) >= limit;
    case "<=": return (e, now) => read(e, now) <= limit;
    default: return (e, now) => read(e, now) === limit;
  }
}
