// buffr's JSON API: one way of asking, and one stream of what happens.

import { reader } from "./sse.js";

const LAST = "buffr-token";
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10000;

/** The token comes in the fragment once, is kept for this tab, and leaves the address bar. */
function readToken() {
  const found = /[#&]token=([^&]+)/.exec(location.hash);
  if (found) {
    sessionStorage.setItem(LAST, decodeURIComponent(found[1]));
    history.replaceState(null, "", location.pathname);
  }
  return found ? decodeURIComponent(found[1]) : sessionStorage.getItem(LAST) || "";
}

const token = readToken();
const headers = () => (token ? { "X-Buffr-Token": token } : {});

/** What the API refused, in its own words. */
export class Refused extends Error {
  constructor(status, { message, hint, problems, code } = {}) {
    super(message || (status ? `buffr answered with status ${status}.` : "buffr cannot be reached."));
    Object.assign(this, { status, hint, code, problems: problems || [] });
  }
}

async function call(method, path, body) {
  let answer;
  try {
    const sent = body === undefined ? {} : { body: JSON.stringify(body) };
    const type = body === undefined ? {} : { "Content-Type": "application/json" };
    answer = await fetch(path, { method, headers: { ...headers(), ...type }, ...sent });
  } catch {
    throw new Refused(0);
  }
  if (answer.status === 204) return null;
  const document = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, document.error);
  return document;
}

const query = (path, given = {}) => {
  const set = Object.entries(given).filter(([, value]) => value !== undefined && value !== "" && value !== null);
  return set.length ? `${path}?${new URLSearchParams(set)}` : path;
};
export const get = (path, given) => call("GET", query("/api/" + path, given));
export const post = (path, body) => call("POST", "/api/" + path, body);
export const put = (path, body) => call("PUT", "/api/" + path, body);
export const remove = (path) => call("DELETE", "/api/" + path);

/**
 * Follows /api/events for ever: onEvent(name, data) for each, onState(connected, refusal). A stream that broke
 * is taken up where it ended. fetch, not EventSource, which cannot send the token.
 */
export async function follow(after, onEvent, onState) {
  let last = after;
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
    try {
      const resumed = last ? { "Last-Event-ID": String(last) } : {};
      const answer = await fetch("/api/events", { headers: { ...headers(), ...resumed }, cache: "no-store" });
      if (!answer.ok) throw new Refused(answer.status, (await answer.json().catch(() => ({}))).error);
      onState(true);
      wait = FIRST_WAIT_MS;
      const feed = reader(({ event, data, id }) => {
        if (id) last = id;
        onEvent(event, JSON.parse(data));
      });
      const text = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let piece; !(piece = await text.read()).done; ) feed(piece.value);
      onState(false);
    } catch (problem) {
      onState(false, problem instanceof Refused && problem.status ? problem : undefined);
    }
    await new Promise((done) => setTimeout(done, wait));
  }
}
