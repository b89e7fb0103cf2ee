// Server-sent events (the HTML standard, 9.2), out of text that comes in pieces.

/** Feed it text; it calls back with {event, data, id} for every event that is whole. */
export function reader(onEvent) {
  let rest = "";
  let id = "";
  return (text) => {
    rest += text;
    for (let found; (found = /\r?\n\r?\n|\r\r/.exec(rest)); ) {
      const block = rest.slice(0, found.index);
      rest = rest.slice(found.index + found[0].length);
      let event = "message";
      const data = [];
      for (const line of block.split(/\r\n|\n|\r/)) {
        const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
        if (field === "data") data.push(value);
        else if (field === "event") event = value;
        else if (field === "id") id = value;
      }
      if (data.length) onEvent({ event, data: data.join("\n"), id });
    }
  };
}
