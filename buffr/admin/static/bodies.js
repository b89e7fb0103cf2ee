// Bodies: JSON re-indented lexeme by lexeme (digits and duplicate names stay), pictures, pages in a sandbox, hex.

import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { bytes, count } from "./format.js";
import { isGrpc, messages, told } from "./grpc.js";
import { Button, copy } from "./ui.js";

const INLINE = 34;
const LONGEST_STRING = 200;
const FIRST_LINES = 300;
const HEX_BYTES = 4096;
const HEX_ROW = 8;
const LEXEMES = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;
const PICTURES = /^image\/(png|jpe?g|gif|webp|avif|bmp|svg\+xml|x-icon|vnd\.microsoft\.icon)$/;

export const decode64 = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));

/** A body's bytes as they are shown. */
export const bytesOf = (body) => (body.encoding === "base64" ? decode64(body.data) : new TextEncoder().encode(body.data));

export const textOf = (body) => (body && body.encoding === "text" ? body.data : "");

export function jsonOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** JSON as lines of [kind, text] tokens; null if it is none. Short objects and lists stand in one line. */
function prettyLines(text) {
  if (!/^\s*[{[]/.test(text) || jsonOf(text) === undefined) return null;
  const lexemes = text.match(LEXEMES);
  const ends = new Map();
  const open = [];
  const lengths = [0];
  lexemes.forEach((lexeme, i) => {
    lengths.push(lengths[i] + lexeme.length);
    if (lexeme === "{" || lexeme === "[") open.push(i);
    else if (lexeme === "}" || lexeme === "]") ends.set(open.pop(), i);
  });
  const lines = [[]];
  let depth = 0;
  let inlineUntil = -1;
  const put = (kind, lexeme) => lines[lines.length - 1].push([kind, lexeme]);
  const line = () => lines.push([["", "  ".repeat(depth)]]);
  lexemes.forEach((lexeme, i) => {
    const inline = i <= inlineUntil;
    if (lexeme === "{" || lexeme === "[") {
      const end = ends.get(i);
      if (end === i + 1) return put("", lexeme);
      if (inline || lengths[end + 1] - lengths[i] <= INLINE) {
        inlineUntil = Math.max(inlineUntil, end);
        return put("", lexeme === "{" ? "{ " : "[");
      }
      put("", lexeme);
      depth++;
      return line();
    }
    if (lexeme === "}" || lexeme === "]") {
      if (ends.get(i - 1) === i) return put("", lexeme);
      if (inline) return put("", lexeme === "}" ? " }" : "]");
      depth--;
      line();
      return put("", lexeme);
    }
    if (lexeme === ",") {
      put("", inline ? ", " : ",");
      return inline || line();
    }
    if (lexeme === ":") return put("", ": ");
    if (lexeme[0] === '"') return put(lexemes[i + 1] === ":" ? "j-key" : "j-string", lexeme);
    return put(/^[tfn]/.test(lexeme) ? "j-word" : "j-number", lexeme);
  });
  return lines;
}

/**
 * An edited text in the spelling of the one that it was made from: JSON that stood in one line does so again.
 * Text that the lexemes do not tell the whole of stays as it was edited.
 */
export function spelledAs(original, edited) {
  const signs = original.replace(/"(?:[^"\\]|\\.)*"/g, "");
  const colon = /:\s/.test(signs) ? ": " : ":";
  const comma = /,\s/.test(signs) ? ", " : ",";
  const join = (text) => text.match(LEXEMES).map((each) => (each === ":" ? colon : each === "," ? comma : each)).join("");
  const fits = jsonOf(original) !== undefined && jsonOf(edited) !== undefined && join(original) === original;
  return fits ? join(edited) : edited;
}

export const plainLines = (text) => prettyLines(text)?.map((line) => line.map(([, each]) => each).join("")) || text.split("\n");

function Token({ kind, text }) {
  const [whole, unfold] = useState(false);
  if (text.length <= LONGEST_STRING + 40 || whole) return kind ? html`<span class=${kind}>${text}</span>` : text;
  return html`<span class=${kind}>${text.slice(0, LONGEST_STRING)}</span><button type="button" class="fold" onClick=${() => unfold(true)}>… ${count(text.length - LONGEST_STRING)} more</button>`;
}

/** JSON if it is JSON, else the text as it stands. */
export function Text({ text }) {
  const [all, showAll] = useState(false);
  const lines = prettyLines(text) || text.split("\n").map((line) => [["", line]]);
  const shown = all ? lines : lines.slice(0, FIRST_LINES);
  return html`<pre class="body" tabindex="0">${shown.map((line) => html`${line.map(([kind, each]) => html`<${Token} kind=${kind} text=${each} />`)}${"\n"}`)}</pre>
    ${shown.length < lines.length && html`<${Button} onClick=${() => showAll(true)}>Show all ${count(lines.length)} lines<//>`}`;
}

function hex(data) {
  const rows = [];
  for (let at = 0; at < Math.min(data.length, HEX_BYTES); at += HEX_ROW) {
    const part = [...data.subarray(at, at + HEX_ROW)];
    const signs = part.map((each) => (each >= 32 && each < 127 ? String.fromCharCode(each) : "·")).join("");
    rows.push(`${at.toString(16).padStart(6, "0")}  ${part.map((each) => each.toString(16).padStart(2, "0")).join(" ").padEnd(3 * HEX_ROW)} ${signs}`);
  }
  return rows.join("\n");
}

function Picture({ body }) {
  const [url, set] = useState("");
  useEffect(() => {
    const made = URL.createObjectURL(new Blob([bytesOf(body)], { type: body.media_type }));
    set(made);
    return () => URL.revokeObjectURL(made);
  }, [body]);
  return url && html`<img class="picture" src=${url} alt=${`The body: ${body.media_type}, ${bytes(body.size_bytes)}`} />`;
}

/** Messages by the numbers of their fields, for want of a schema. */
const Grpc = ({ data }) => messages(data).map((each, i) => html`<p class="faint small">message ${i}, ${bytes(each.size)}${each.compressed ? ", compressed" : ""}</p>${told(each) ? html`<${Text} text=${told(each)} />` : html`<pre class="body" tabindex="0">${hex(each.data)}</pre>`}`);

function Shown({ body }) {
  const [rendered, render] = useState(false);
  if (PICTURES.test(body.media_type || "") && !body.truncated && body.data) return html`<${Picture} body=${body} />`;
  if (body.messages) return html`<p class="faint small">${body.messages.type}</p><${Text} text=${body.messages.text} />`;
  if (isGrpc(body.media_type)) return html`<${Grpc} data=${bytesOf(body)} />`;
  if (body.encoding === "base64") return html`<pre class="body" tabindex="0">${hex(decode64(body.data))}</pre>`;
  if (body.media_type === "application/x-www-form-urlencoded")
    return html`<dl class="fields">${[...new URLSearchParams(body.data)].map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
  const graphql = /"query"\s*:/.test(body.data) && jsonOf(body.data)?.query;
  if (typeof graphql === "string" && graphql.includes("{"))
    return html`<pre class="body" tabindex="0">${graphql}</pre><h3>The whole</h3><${Text} text=${body.data} />`;
  if (body.media_type === "text/html")
    return html`<p><${Button} onClick=${() => render(!rendered)}>${rendered ? "Show the source" : "Show as a page, without scripts"}<//></p>
      ${rendered ? html`<iframe class="sandbox" sandbox="" title="The body as a page" srcdoc=${body.data}></iframe>` : html`<${Text} text=${body.data} />`}`;
  return html`<${Text} text=${body.data} />`;
}

/** A body with its head line; onAll fetches the whole if only its beginning is here. */
export function Body({ body, onAll, raw = false, copyKey }) {
  if (!body || (!body.size_bytes && !body.data)) return html`<p class="faint">No body.</p>`;
  if (body.unavailable) return html`<p class="faint">${bytes(body.size_bytes)}. ${body.unavailable}</p>`;
  const kind = prettyLines(textOf(body).slice(0, 65536)) || body.media_type?.endsWith("json") ? "JSON" : body.media_type || "";
  return html`<section>
    <h3>Body${kind && `, ${kind}`}${body.coding ? `, ${body.coding} on the wire` : ""}${body.encoding === "text" && html`<${Button} kind="bare" hotkey=${copyKey} onClick=${() => copy(body.data)}>copy<//>`}</h3>
    ${raw ? html`<pre class="body" tabindex="0">${body.encoding === "text" ? body.data : hex(decode64(body.data))}</pre>` : html`<${Shown} key=${body.data.length} body=${body} />`}
    ${body.truncated && onAll && html`<p><${Button} onClick=${onAll}>Show all, ${bytes(body.size_bytes)}<//></p>`}
  </section>`;
}
