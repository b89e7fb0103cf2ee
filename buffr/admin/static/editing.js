// Editing a recording: its answer's body, or the whole element as it stands in the cassette.

import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { put } from "./api.js";
import { jsonOf, plainLines, spelledAs, textOf } from "./bodies.js";
import { SideBySide } from "./compare.js";
import { bytes, counted } from "./format.js";
import { steps } from "./diff.js";
import { useCommands } from "./keys.js";
import { attempt, Button, Choice, Mark, Refusal, toast } from "./ui.js";

const CODINGS = { gzip: "gzip", "x-gzip": "gzip", deflate: "deflate" };
const SETTLE_MS = 400;

async function compressed(data, coding) {
  const stream = new Blob([data]).stream().pipeThrough(new CompressionStream(coding));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const base64 = (data) => {
  let text = "";
  for (let at = 0; at < data.length; at += 8192) text += String.fromCharCode(...data.subarray(at, at + 8192));
  return btoa(text);
};

/** The element with another body in its answer: coded as before if the browser can, and with its length. */
async function withBody(element, text, coding) {
  const changed = structuredClone(element);
  const { response } = changed.http;
  for (const name of ["body", "body_b64", "body_file", "body_size", "body_chunks", "chunks"]) delete response[name];
  let data = new TextEncoder().encode(text);
  if (CODINGS[coding]) {
    data = await compressed(data, CODINGS[coding]);
    response.body_b64 = base64(data);
  } else {
    if (coding) delete response.headers["Content-Encoding"];
    if (text) response.body = text;
  }
  if (response.headers["Content-Length"]) response.headers["Content-Length"] = [String(data.length)];
  return changed;
}

/** What can be said of the edited text before it is saved: [fine, words]. */
function checksOf(detail, body, text) {
  const { coding, media_type: type } = detail.response.body;
  const old = textOf(detail.response.body);
  const out = [];
  if (body === "element" || type?.endsWith("json")) out.push(jsonOf(text) === undefined ? [false, "It is no JSON."] : [true, "It is JSON."]);
  if (body === "element") return out;
  if (coding) out.push([true, CODINGS[coding] ? `${coding} is done anew on saving.` : `The body is kept without its coding ${coding}, and the header goes.`]);
  const length = new TextEncoder().encode(spelledAs(old, text)).length;
  if (!coding && detail.response.headers.some(([name]) => name.toLowerCase() === "content-length")) out.push([true, `content-length follows: ${length} instead of ${detail.response.body.size_bytes}.`]);
  if (detail.response.chunks.length > 1) out.push([false, "It came in pieces, and is replayed at once. To keep them, edit the element."]);
  if (/"(usage|usageMetadata)"/.test(old) && text !== old) out.push([false, "usage is sent as it stands."]);
  return out;
}

/** onSaved gets the new InteractionDetail; onEnd leaves editing. */
export function Editor({ detail, onSaved, onEnd }) {
  const { element, response } = detail;
  const bodyText = element.http && response && response.body.encoding === "text" && !response.body.truncated && !response.body.unavailable;
  const [what, setWhat] = useState(bodyText && response.chunks.length < 2 ? "body" : "element");
  const before = what === "body" ? plainLines(textOf(response.body)).join("\n") : JSON.stringify(element, null, 2);
  const [text, edit] = useState(before);
  const [problem, setProblem] = useState(null);
  const [fine, setFine] = useState(null);
  const choose = (next) => (setWhat(next), setProblem(null), edit(next === "body" ? plainLines(textOf(response.body)).join("\n") : JSON.stringify(element, null, 2)));
  const changed = text !== before;
  const made = async () => (what === "body" ? withBody(element, spelledAs(textOf(response.body), text), response.body.coding) : jsonOf(text));
  useEffect(() => {
    setFine(null);
    setProblem(null);
    if (!changed || (what === "element" && jsonOf(text) === undefined)) return;
    const timer = setTimeout(async () => {
      try {
        await put(`interactions/${detail.summary.id}`, { element: await made(), check: true });
        setFine(true);
      } catch (refusal) {
        setProblem(refusal.status === 400 ? null : refusal);
      }
    }, SETTLE_MS);
    return () => clearTimeout(timer);
  }, [text]);
  const save = () => changed && attempt(async () => {
    try {
      const saved = await put(`interactions/${detail.summary.id}`, { element: await made() });
      toast("Saved. The next replay answers with it.", () => attempt(async () => onSaved(await put(`interactions/${saved.summary.id}`, { element }))));
      onSaved(saved);
    } catch (refusal) {
      setProblem(refusal);
    }
  });
  const lines = changed ? steps(before.split("\n"), text.split("\n")).filter(([kind]) => kind === "+").length : 0;
  const checks = checksOf(detail, what, text);
  if (fine) checks.push([true, "It passes the checks of buffr cassette verify."]);
  useCommands([
    { key: "Ctrl s", label: "save", foot: true, run: save },
    { key: "Escape", label: "end editing", foot: true, run: onEnd },
  ]);
  return html`<div class="editor"><div class="spread"><${Choice} label="What to edit" choices=${[bodyText && ["body", "Body"], ["element", "Whole element"]].filter(Boolean)} value=${what} onChoose=${choose} />${changed && html`<span class="badge attention">edited, not saved</span>`}</div>
      <textarea aria-label=${what === "body" ? "The body of the answer" : "The element of the cassette"} spellcheck="false" value=${text} onInput=${(event) => edit(event.target.value)}></textarea>
      ${changed && html`<div class="card"><${SideBySide} left=${before} right=${text} /></div>`}</div>
    <div class="checks"><h3>Checked as you type, like cassette verify</h3><ul>${checks.map(([good, words]) => html`<li><${Mark} of=${good ? "check" : "error"} name=${good ? "cassette" : "stale"} />${words}</li>`)}</ul><${Refusal} of=${problem} />
      <p class="row-of"><${Button} kind="primary" hotkey="Ctrl s" disabled=${!changed} onClick=${save}>${lines ? `Save, ${counted(lines, "line")} changed` : "Save"}<//><${Button} hotkey="Escape" onClick=${onEnd}>${changed ? "Revert" : "Close"}<//></p></div>`;
}

export function Note({ detail, onSaved }) {
  const [text, edit] = useState(detail.summary.note || "");
  const save = () => attempt(async () => (onSaved(await put(`interactions/${detail.summary.id}`, { note: text || null })), toast("The note is saved.")));
  return html`<div class="editor"><label class="field"><span class="quiet">For people who read the cassette. It does not count in matching. ${text.length} of 2,000 signs.</span><textarea maxlength="2000" value=${text} onInput=${(event) => edit(event.target.value)}></textarea></label><p><${Button} kind="primary" onClick=${save}>Save the note<//></p></div>`;
}

export const sizeOf = ({ request_bytes: sent, response_bytes: answered }) => bytes((sent || 0) + (answered || 0));
