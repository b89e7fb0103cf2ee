// How figures, times and addresses are written, everywhere on the page.

export const SOURCES = ["cassette", "cache", "upstream", "shared", "stale", "miss", "limit", "bypass", "error"];
const HERE = new Set(["cassette", "cache", "stale"]);

/** Whether buffr answered without asking anybody. */
export const isHere = (source) => HERE.has(source);

const grouped = new Intl.NumberFormat("en");

export const count = (n) => grouped.format(n);

/** "1 miss", "2 misses": the plural is the singular with an s unless given. */
export const counted = (n, one, many = one + "s") => `${count(n)} ${n === 1 ? one : many}`;

export function bytes(n) {
  if (n == null) return "–";
  if (n < 1000) return `${n} B`;
  for (const unit of ["kB", "MB", "GB", "TB"]) {
    n /= 1000;
    if (n < 999.5 || unit === "TB") return `${n < 10 ? n.toFixed(1) : Math.round(n)} ${unit}`;
  }
}

/** A duration in milliseconds, short: 0.4 ms, 166 ms, 3.2 s, 5 min, 3 h 12 min. */
export function duration(ms) {
  if (ms == null) return "–";
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 59.95) return `${s.toFixed(s < 10 ? 1 : 0)} s`;
  const minutes = Math.round(s / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.round(hours / 24)} days`;
}

/** Seconds since something happened, short enough for a column: 2 s, 4 min, 3 h, 12 d. */
export function age(s) {
  if (!(s >= 0)) s = 0;
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
}

/** The same in a sentence: "12 days ago". */
export function ago(s) {
  if (s < 5) return "just now";
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]]) {
    const whole = Math.floor(s / size);
    if (whole >= 1) return `${counted(whole, unit)} ago`;
  }
  return "just now";
}

/** Two digits at least: a call may cost less than a hundredth of a cent. */
export const money = (usd) =>
  usd == null ? "–" : usd === 0 ? "$0" : `$${usd < 0.001 ? usd.toFixed(Math.min(9, 1 - Math.floor(Math.log10(usd)))) : usd < 0.01 ? usd.toFixed(4) : usd < 1 ? usd.toFixed(3) : usd.toFixed(2)}`;

export function tokens(n) {
  if (n == null) return "–";
  return n < 100000 ? count(n) : `${(n / 1e6).toFixed(2)} M`;
}

/** Rounded down: 100 % is said of nothing less. */
export const percent = (share) => (share == null ? "–" : `${(Math.floor(share * 1000 + 1e-9) / 10).toFixed(1)} %`);

export const clock = (at) => new Date(at * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });

export const day = (at) =>
  new Date(at * 1000).toLocaleString("en-GB", { day: "numeric", month: "long", year: "numeric", hour: "2-digit", minute: "2-digit" });

/** A long value with its middle cut, so that both ends still tell it apart. */
export function middle(text, most = 60) {
  if (text.length <= most) return text;
  const start = Math.ceil((most - 1) / 2);
  return `${text.slice(0, start)}…${text.slice(start + 1 - most)}`;
}

export const CLASS_OF = (status) => (status >= 500 ? "bad" : status >= 400 ? "warn" : "");
