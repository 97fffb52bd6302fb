// Tables that sort by any column, with the mouse and with the keyboard.

const sorted = {}; // by table: [column, direction], so that new contents keep the order

// cells: strings, or elements. wide: indices of columns with sentences.
function sortableTable(name, head, lines, wide = []) {
  const body = element("tbody");
  const rows = lines.map((cells) =>
    element("tr", {}, cells.map((cell, i) => element("td", { class: wide.includes(i) && "wide" }, cell))),
  );
  const titles = head.map((title, column) =>
    element("th", { scope: "col" }, element("button", { type: "button", onclick: () => turn(column) }, title)),
  );
  const show = () => {
    const [column, direction] = sorted[name] ?? [null, 1];
    titles.forEach((title, i) => {
      if (i === column) title.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else title.removeAttribute("aria-sort");
    });
    body.replaceChildren(...(column === null ? rows : inOrder(rows, column, direction)));
  };
  const turn = (column) => {
    const [before, direction] = sorted[name] ?? [null, 1];
    sorted[name] = [column, before === column ? -direction : 1];
    show();
  };
  show();
  const made = element("table", {}, element("caption", {}, name), element("thead", {}, element("tr", {}, titles)), body);
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name }, made);
}

// Numbers by their size, before text by its letters; cells without a value come last in both directions.
function inOrder(rows, column, direction) {
  const keyed = rows.map((row) => [sortKey(row.cells[column].textContent), row]);
  keyed.sort(([a], [b]) => a[0] - b[0] || direction * (typeof a[1] === "number" ? a[1] - b[1] : a[1].localeCompare(b[1])));
  return keyed.map(([, row]) => row);
}

function sortKey(text) {
  if (["", "-", "?"].includes(text)) return [2, ""];
  const number = /^[≥<>\s]*([+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)(?![\w-])/.exec(text);
  return number ? [0, Number(number[1].replaceAll(",", ""))] : [1, text];
}
