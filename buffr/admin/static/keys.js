// Commands: what can be done now, by which key. Footer, palette, help and the keyboard all read one list.

import { html, useEffect, useReducer, useRef } from "./vendor/htm-preact.js";

const SECOND_KEY_MS = 1200;
const LETTERS = "buffr-letters";
const stack = [];
const watchers = new Set();
let first = "";
let firstAt = 0;

const told = () => watchers.forEach((watch) => watch());

export const letters = () => localStorage.getItem(LETTERS) !== "off";
export function setLetters(on) {
  localStorage.setItem(LETTERS, on ? "on" : "off");
  told();
}

/** Offer commands while this component is there: {key, label, run, foot}; foot: shown in the footer. */
export function useCommands(list) {
  const own = useRef(null);
  // At the first drawing, where an owner comes before its parts; effects would come the other way round.
  if (!own.current) stack.push(own);
  own.current = list.filter(Boolean);
  const shape = own.current.map((each) => each.key + each.label).join();
  useEffect(() => {
    return () => {
      stack.splice(stack.indexOf(own), 1);
      told();
    };
  }, []);
  useEffect(told, [shape]);
}

/** All commands of now, the page's before those of its parts; of two with one key the inner one counts. */
export function commands() {
  const last = new Map();
  for (const each of stack) for (const command of each.current) last.set(command.key || command.label, command);
  return [...last.values()];
}

export function useAllCommands() {
  const [, again] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    watchers.add(again);
    // What was offered while this was not there yet.
    again();
    return () => watchers.delete(again);
  }, []);
  return commands();
}

function nameOf(event) {
  if (event.key === " ") return "Space";
  if ((event.ctrlKey || event.metaKey) && !event.altKey) return `Ctrl ${event.key.toLowerCase()}`;
  if (event.altKey) return "";
  return event.shiftKey && /^[A-Z]$/.test(event.key) ? `⇧${event.key.toLowerCase()}` : event.key;
}

const typing = (target) => target.matches?.("input, textarea, select, [contenteditable]");

export function listen() {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing) return;
    let key = nameOf(event);
    const single = key.length === 1 || key.startsWith("⇧") || key === "Space";
    if (typing(event.target) && (single || !/^(Ctrl|Escape)/.test(key))) return;
    if (document.querySelector("dialog[open]") && key !== "Ctrl k") return;
    if (/^(Enter|Space)$/.test(key) && event.target.closest?.("button, a, summary, [role=tab]")) return;
    if (single && key !== "Space" && !letters() && key !== "/" && key !== "?") return;
    if (first && event.timeStamp - firstAt < SECOND_KEY_MS) key = `${first} ${key}`;
    first = "";
    const found = commands().find((each) => each.key === key || each.also === key);
    if (found) {
      event.preventDefault();
      found.run(event);
    } else if (key === "g") [first, firstAt] = ["g", event.timeStamp];
  });
}

/** A key's name in boxes; "g l" and "Ctrl k" are two. */
export const Key = ({ of }) => of.split(" ").map((one) => html`<kbd aria-hidden="true">${one === "Escape" ? "Esc" : one}</kbd>`);
