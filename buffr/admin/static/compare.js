// Two texts or two exchanges side by side, line by line.

import { html, useState } from "./vendor/htm-preact.js";
import { get } from "./api.js";
import { plainLines, textOf } from "./bodies.js";
import { marked, steps } from "./diff.js";
import { bytes, counted } from "./format.js";
import { Choice, Dialog, Refusal, useLoad } from "./ui.js";

const AROUND = 3;
const MOST_LINES = 2000;

/** A value with the characters that changed marked; kind "was" or "is". */
export const Marked = ({ pieces, kind }) => html`<span class=${kind}>${pieces.map(([text, changed]) => (changed ? html`<mark>${text}</mark>` : text))}</span>`;

/** Rows [kind, left line, right line]: a removed line stands beside the one that was added for it. */
function rowsOf(left, right) {
  const rows = [];
  let removed = [];
  let added = [];
  const flush = () => {
    for (let i = 0; i < Math.max(removed.length, added.length); i++) rows.push(["±", removed[i], added[i]]);
    removed = [];
    added = [];
  };
  for (const [kind, i, j] of steps(left, right)) {
    if (kind === "-") removed.push(left[i]);
    else if (kind === "+") added.push(right[j]);
    else {
      flush();
      rows.push(["=", left[i], right[j]]);
    }
  }
  flush();
  return rows;
}

/** Where the rows may be folded: runs of equal ones, but for a few around each change. */
function foldedRows(rows) {
  const out = [];
  let run = [];
  const flush = (last) => {
    const head = out.length ? AROUND : 0;
    const tail = last ? 0 : AROUND;
    if (run.length > head + tail + 2) {
      out.push(...run.slice(0, head), ["…", run.length - head - tail], ...run.slice(run.length - tail, run.length));
    } else out.push(...run);
    run = [];
  };
  for (const row of rows) {
    if (row[0] === "=") run.push(row);
    else {
      flush(false);
      out.push(row);
    }
  }
  flush(true);
  return out;
}

/** Both texts as two columns; all: without folding. */
export function SideBySide({ left, right, all }) {
  if (left === right) return html`<p class="pad faint">The same, ${bytes(left.length)}.</p>`;
  const rows = rowsOf(plainLines(left).slice(0, MOST_LINES), plainLines(right).slice(0, MOST_LINES));
  const shown = all ? rows : foldedRows(rows);
  const cell = (kind, text, pieces, side) => html`<span class=${kind === "±" && text !== undefined ? (side ? "is" : "was") : ""}><span class="sign">${kind !== "±" || text === undefined ? "" : side ? "+" : "−"}</span><span>${pieces ? pieces.map(([part, differs]) => (differs ? html`<mark>${part}</mark>` : part)) : text}</span></span>`;
  return html`<div class="both" tabindex="0" role="group" aria-label="Before, and after">${shown.map(([kind, one, other]) => {
    if (kind === "…") return html`<div class="equal faint">… ${counted(one, "line")} the same</div>`;
    const [was, is] = kind === "±" && one !== undefined && other !== undefined ? marked(one, other) : [];
    return html`<div class=${kind === "=" ? "equal" : ""}>${cell(kind, one, was, 0)}${cell(kind, other, is, 1)}</div>`;
  })}</div>`;
}

const headOf = (side) => (side ? [side.method ? `${side.method} ${side.url}` : `${side.status} ${side.reason}`, ...side.headers.map(([name, value]) => `${name.toLowerCase()}: ${value}`).sort()].join("\n") : "");

/** A dialog that compares two exchanges or interactions, given as [collection, id]. */
export function Compare({ left, right, onClose }) {
  const [all, setAll] = useState(false);
  const [both, refusal] = useLoad(() => Promise.all([left, right].map(([of, id]) => get(`${of}/${id}`))), [String([left, right])]);
  return html`<${Dialog} title="Compare" name="wide" onClose=${onClose}>
    <header><h2>${both ? `${both[0].summary.label} and ${both[1].summary.label}` : "Compare"}</h2><div class="row-of">
      <${Choice} label="Lines" choices=${[[false, "what differs"], [true, "all"]]} value=${all} onChoose=${setAll} />
      <form method="dialog"><button class="button">Close <kbd>Esc</kbd></button></form></div></header>
    ${refusal && html`<div class="pad"><${Refusal} of=${refusal} /></div>`}
    ${both && html`<div class="pad stack">${[["Request", "request"], ["Response", "response"]].map(([name, side]) => html`<section><h3>${name}</h3><div class="card"><${SideBySide} left=${headOf(both[0][side])} right=${headOf(both[1][side])} all=${all} /></div></section>
      <section><h3>${name}, body</h3><div class="card"><${SideBySide} left=${textOf(both[0][side]?.body)} right=${textOf(both[1][side]?.body)} all=${all} /></div></section>`)}</div>`}
  <//>`;
}
