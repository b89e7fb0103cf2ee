// What changed between two texts: lines, and inside a line its characters.

/** The common beginning and end of two strings, as [a, b, old middle, new middle]. */
function ends(old, now) {
  const most = Math.min(old.length, now.length);
  let start = 0;
  while (start < most && old[start] === now[start]) start++;
  let end = 0;
  while (end < most - start && old[old.length - 1 - end] === now[now.length - 1 - end]) end++;
  return [start, end];
}

/**
 * The longest common subsequence of two lists as steps [kind, old index, new index], kind "=", "-" or "+".
 * Over 2 million cells it gives up and says that all in the middle changed.
 */
export function steps(old, now) {
  const [start, end] = ends(old, now);
  const a = old.slice(start, old.length - end);
  const b = now.slice(start, now.length - end);
  const out = [];
  for (let i = 0; i < start; i++) out.push(["=", i, i]);
  let i = 0;
  let j = 0;
  if (a.length * b.length <= 2e6) {
    const width = b.length + 1;
    const table = new Uint16Array((a.length + 1) * width);
    for (let x = a.length - 1; x >= 0; x--)
      for (let y = b.length - 1; y >= 0; y--)
        table[x * width + y] = a[x] === b[y] ? table[(x + 1) * width + y + 1] + 1 : Math.max(table[(x + 1) * width + y], table[x * width + y + 1]);
    while (i < a.length && j < b.length) {
      if (a[i] === b[j]) out.push(["=", start + i++, start + j++]);
      else if (table[(i + 1) * width + j] >= table[i * width + j + 1]) out.push(["-", start + i++, start + j]);
      else out.push(["+", start + i, start + j++]);
    }
  }
  while (i < a.length) out.push(["-", start + i++, start + j]);
  while (j < b.length) out.push(["+", start + i, start + j++]);
  for (let k = end; k > 0; k--) out.push(["=", old.length - k, now.length - k]);
  return out;
}

/** Both strings in pieces [text, changed]; words and single signs are compared, not letters. */
export function marked(old, now) {
  const a = old.match(/\w+|\W/g) || [];
  const b = now.match(/\w+|\W/g) || [];
  const left = [];
  const right = [];
  const add = (list, text, changed) => {
    const last = list[list.length - 1];
    if (last && last[1] === changed) last[0] += text;
    else list.push([text, changed]);
  };
  for (const [kind, i, j] of steps(a, b)) {
    if (kind !== "+") add(left, a[i], kind !== "=");
    if (kind !== "-") add(right, b[j], kind !== "=");
  }
  return [left, right];
}
